//! The name that was probably meant.

/// Ends a complaint about `wrong`: ` did you mean "idle"?`, or, when nothing is near, the
/// names that there are.
pub(super) fn hint<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(wrong, &known) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// The one of `known` that is fewest edits from `wrong`, unless that is most of the word.
pub(super) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong: String = wrong.chars().take(64).collect::<String>().to_lowercase();
    known
        .iter()
        .map(|name| (distance(&wrong, name), *name))
        .filter(|(edits, name)| {
            *edits <= (name.chars().count().max(wrong.chars().count()) / 3).max(1)
        })
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// How many letters must be put in, taken out, changed or swapped with their neighbour
/// (optimal string alignment).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.chars().enumerate() {
        let mut next = vec![row + 1];
        let mut left = row + 1;
        for (column, other) in to.iter().enumerate() {
            let at = |list: &[usize], index: usize| list.get(index).copied().unwrap_or(usize::MAX);
            let changed = at(&last, column) + usize::from(letter != *other);
            let mut best = changed.min(left + 1).min(at(&last, column + 1) + 1);
            let swapped = column
                .checked_sub(1)
                .filter(|it| previous == Some(*other) && to.get(*it) == Some(&letter))
                .map(|it| at(&before, it));
            if let Some(swapped) = swapped {
                best = best.min(swapped.saturating_add(1));
            }
            next.push(best);
            left = best;
        }
        previous = Some(letter);
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_one_edit() {
        for (from, to, edits) in [
            ("idle", "idle", 0),
            ("idel", "idle", 1),
            ("ide", "idle", 1),
            ("idlle", "idle", 1),
            ("odle", "idle", 1),
            ("", "idle", 4),
            ("idle", "", 4),
            ("absolut", "idle", 6),
        ] {
            assert_eq!(distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn what_resembles_nothing_gets_the_whole_list() {
        let known = ["idle", "absolute", "token"];
        assert_eq!(hint("idel", known), "did you mean \"idle\"?");
        assert_eq!(hint("Tokens", known), "did you mean \"token\"?");
        assert_eq!(hint("colour", known), "known are idle, absolute, token");
    }
}
