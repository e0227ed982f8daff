guard: a name that nobody has is counted like any other
file: src/account.rs
test: lib l4_an_unknown_name_is_locked_just_as_a_known_one_is
--- old
let admitted = attempts::admit(store, &key, rules.max_failures, rules.lock, now)?;
                Ok((user, key, admitted))
--- new
let admitted = if user.is_none() { Admitted::Yes { last: false } } else { attempts::admit(store, &key, rules.max_failures, rules.lock, now)? };
                Ok((user, key, admitted))
--- end
