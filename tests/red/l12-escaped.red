guard: what people are called is escaped
file: web/templates/login.html
test: lib l12_names_hosts_and_agents_are_escaped
--- old
value="{{ username }}"
--- new
value="{{ username|safe }}"
--- end
