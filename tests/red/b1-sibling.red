guard: a sibling cannot ask in the name of the user
file: src/authz/sibling.rs
test: lib b1_a_siblings_page_cannot_ask_in_the_users_name
test: gateway b1_a_siblings_page_cannot_act_with_the_users_cookie
--- old
Some(Site::SameSite | Site::CrossSite) => safe && ask.fetch.top_level,
--- new
Some(Site::SameSite | Site::CrossSite) => true,
--- end
