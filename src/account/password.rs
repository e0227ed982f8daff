//! Which passwords are too weak to be set.

use std::path::Path;

use crate::{
    breached::{List, NoList},
    name::UserName,
    secret::Secret,
};

/// Longest password, in bytes: what is hashed should not be a flood.
pub const LONGEST: usize = 256;

/// Why a password may not be set, in words for who chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WeakPassword {
    /// Too short.
    #[error("The password needs at least {0} characters.")]
    TooShort(usize),
    /// Too long.
    #[error("The password may have at most {LONGEST} bytes.")]
    TooLong,
    /// It is the user's name.
    #[error("The password must not be the user name.")]
    IsTheName,
    /// One of those that are tried first.
    #[error("This password is among the first that an attacker tries. Choose another.")]
    Common,
    /// It is on the operator's list of passwords that leaked.
    #[error(
        "This password has leaked somewhere and is on the lists of attackers. Choose another, and change it wherever you use it."
    )]
    Leaked,
    /// Found within 10^8 guesses by who knows how people choose. What makes it so, in words.
    #[error(
        "This password is easy to guess: {0} Add a word or two that have nothing to do with it."
    )]
    Guessable(&'static str),
}

/// Whether `password` may be `user`'s; at least `least` characters.
pub(super) fn judge(password: &Secret, user: &UserName, least: usize) -> Result<(), WeakPassword> {
    let text = password.reveal();
    if text.chars().count() < least.max(1) {
        return Err(WeakPassword::TooShort(least.max(1)));
    }
    if text.len() > LONGEST {
        return Err(WeakPassword::TooLong);
    }
    if text.trim().eq_ignore_ascii_case(user.as_str()) {
        return Err(WeakPassword::IsTheName);
    }
    if is_common(text) {
        return Err(WeakPassword::Common);
    }
    guessable(text, user)
}

/// Whether it is on the operator's list, where there is one. Reads from disk. A list that cannot
/// be read keeps nobody from a new password: it is told, and the other rules hold.
pub(super) fn judge_leaked(password: &Secret, list: Option<&Path>) -> Result<(), WeakPassword> {
    let Some(path) = list else {
        return Ok(());
    };
    let asked = List::open(path).map_err(NoList::from);
    match asked.and_then(|it| it.holds(password.reveal())) {
        Ok(true) => Err(WeakPassword::Leaked),
        Ok(false) => Ok(()),
        Err(error) => {
            tracing::warn!(list = %path.display(), %error, "the list of leaked passwords cannot be asked");
            Ok(())
        }
    }
}

/// Longer ones are looked at so far only: the time grows with more than the length.
const LOOKED_AT: usize = 64;

/// Whether a guesser with lists of words, names, dates and keyboards finds it soon.
fn guessable(text: &str, user: &UserName) -> Result<(), WeakPassword> {
    let beginning: String = text.chars().take(LOOKED_AT).collect();
    let found = zxcvbn::zxcvbn(&beginning, &[user.as_str()]);
    if found.score() >= zxcvbn::Score::Three {
        return Ok(());
    }
    let warning = found
        .feedback()
        .and_then(zxcvbn::feedback::Feedback::warning);
    Err(WeakPassword::Guessable(warning.map_or(
        "it is short, or made of what others choose too.",
        words,
    )))
}

/// What makes a password easy to guess, as we would say it.
fn words(warning: zxcvbn::feedback::Warning) -> &'static str {
    use zxcvbn::feedback::Warning as W;
    match warning {
        W::StraightRowsOfKeysAreEasyToGuess | W::ShortKeyboardPatternsAreEasyToGuess => {
            "it follows the keys of a keyboard."
        }
        W::RepeatsLikeAaaAreEasyToGuess | W::RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess => {
            "it says the same thing several times."
        }
        W::ThisIsATop10Password
        | W::ThisIsATop100Password
        | W::ThisIsACommonPassword
        | W::ThisIsSimilarToACommonlyUsedPassword => "it is like one that many people use.",
        W::SequencesLikeAbcAreEasyToGuess => "it counts up or down, or follows the alphabet.",
        W::RecentYearsAreEasyToGuess | W::DatesAreOftenEasyToGuess => "it is a date or a year.",
        W::AWordByItselfIsEasyToGuess => "it is a single word.",
        W::NamesAndSurnamesByThemselvesAreEasyToGuess | W::CommonNamesAndSurnamesAreEasyToGuess => {
            "it is a name."
        }
    }
}

/// A common word, however dressed up: case, digits for letters, digits and signs at its ends,
/// said twice or more; a run of neighbours; very few different characters.
fn is_common(text: &str) -> bool {
    let lower: Vec<char> = text
        .to_lowercase()
        .chars()
        .filter(|it| !it.is_whitespace())
        .collect();
    let mut different = lower.clone();
    different.sort_unstable();
    different.dedup();
    if different.len() <= 3 || is_run(&lower) {
        return true;
    }
    let plain: String = lower.iter().collect();
    let word = plain.trim_matches(|it: char| !it.is_alphabetic());
    [plain.as_str(), word].iter().any(|text| {
        let spoken: String = text.chars().map(unleet).collect();
        listed(text) || listed(&spoken) || listed(once(text)) || listed(once(&spoken))
    })
}

fn listed(word: &str) -> bool {
    WORDS.split_ascii_whitespace().any(|it| it == word)
}

/// Digits and signs that stand for letters.
fn unleet(letter: char) -> char {
    match letter {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    }
}

/// The word that is said several times over, or the whole.
fn once(word: &str) -> &str {
    (3..=word.len() / 2)
        .filter_map(|length| word.get(..length))
        .find(|part| word.len().is_multiple_of(part.len()) && word.replace(part, "").is_empty())
        .unwrap_or(word)
}

/// Whether every character is the neighbour of the one before, on the keyboard or in the
/// alphabet (wrapping from 9 to 0), in one direction, but for one jump.
fn is_run(text: &[char]) -> bool {
    let steps = |forward: bool| {
        text.windows(2)
            .filter(|pair| match pair {
                [a, b] if forward => follows(*a, *b),
                [a, b] => follows(*b, *a),
                _ => false,
            })
            .count()
    };
    let most = steps(true).max(steps(false));
    text.len() > 3 && most + 2 >= text.len()
}

fn follows(a: char, b: char) -> bool {
    const ROWS: [&str; 5] = [
        "12345678901",
        "abcdefghijklmnopqrstuvwxyz",
        "qwertyuiop",
        "asdfghjkl",
        "zxcvbnm",
    ];
    let pair: String = [a, b].iter().collect();
    ROWS.iter().any(|row| row.contains(&pair))
}

/// What is tried first: in lower case, without digits and signs at the ends.
const WORDS: &str = "
    password passwort passwords passw0rd passwd pass passphrase mypassword thepassword newpassword
    yourpassword password1 passwordpassword motdepasse contrasena contraseña senha wachtwoord
    parola haslo hasło losenord lösenord salasana sifre geheim geheimnis secret topsecret secrets
    mysecret supersecret letmein letmeinnow letmein! openup opensesame sesame trustno trustnoone
    welcome welcomehome welcometo willkommen bienvenue hello hellohello helloworld hallo hallowelt
    admin administrator adminadmin adminpassword rootroot root toor superuser sysadmin systemadmin
    webmaster operator manager master masterkey guest guestguest user username useruser testuser
    test testing tester testtest testpassword test123test demo demodemo demopassword example sample
    default defaultpassword changeme changemenow changeit changethis pleasechange pleasechangeme
    login loginlogin logmein access accessgranted enter entrance nothing nopassword none null
    temp temporary temppassword temppass tmp initial firstlogin onetime nodered node-red noderedadmin
    uibuilder dashboard portcullis gateway raspberry raspberrypi pi docker container compose
    mosquitto mqtt mqttpassword homeassistant openhab influxdb grafana postgres postgresql mysql
    mariadb oracle sqlserver redis mongodb cisco router switch network server internet wifi
    wireless computer laptop desktop windows microsoft linux ubuntu debian apple iphone android
    samsung google googlegoogle facebook twitter instagram youtube yahoo hotmail gmail amazon
    netflix paypal minecraft pokemon nintendo playstation xbox starwars startrek superman batman
    spiderman ironman wolverine gandalf hobbit frodo matrix neo skywalker darthvader yoda jedi
    iloveyou iloveyouu ilovegod ilovemyself iloveu loveyou lovelove love lovely loveme lover
    forever forever and always sweetheart sweetie honey honeybee darling princess prince queen
    king angel angels babygirl babyboy baby babe beautiful butterfly flower flowers sunflower
    sunshine moonlight starlight rainbow summer summertime winter wintertime spring springtime
    autumn monday tuesday wednesday thursday friday saturday sunday january february march april
    may june july august september october november december sommer fruehling frühling herbst
    football baseball basketball soccer hockey tennis cricket volleyball swimming liverpool
    chelsea arsenal barcelona realmadrid juventus manchester manchesterunited bayern dortmund
    yankees cowboys lakers dolphins steelers michael michelle jennifer jessica daniel charlie
    jordan jordan23 george thomas robert william andrew anthony joshua matthew ashley amanda
    nicole samantha hannah maggie ginger buster pepper cookie cookies chocolate cheese banana
    orange strawberry blueberry pineapple mustang ferrari porsche mercedes corvette harley
    harleydavidson yamaha kawasaki chevrolet camaro killer hunter hunter2 shadow dragon monkey
    tiger tigers lion eagle eagles falcon panther dolphin wolf wolves bear bears kitty kitten
    puppy freedom liberty america american england london paris berlin newyork california texas
    chicago boston canada australia mexico brasil deutschland france italia espana whatever
    trustme fuckyou fuckyou! fuckoff asshole bullshit shithead biteme computer123 mercury saturn
    jupiter phoenix diamond silver golden platinum crystal thunder lightning hurricane blahblah
    blablabla asdfasdf asdf asdfgh asdfghjkl asdfjkl qwerty qwertz qwertyu qwertyui qwertyuiop
    qwertyqwerty azerty azertyuiop zxcvbn zxcvbnm qazwsx qazwsxedc wsxedc 1qaz2wsx 1q2w3e 1q2w3e4r
    1q2w3e4r5t 1q2w3e4r5t6y q1w2e3 q1w2e3r4 q1w2e3r4t5 zaq12wsx zaq1zaq1 qweasd qweasdzxc asdzxc
    abcabc abcd1234 abc123abc a1b2c3 a1b2c3d4 a1b2c3d4e5 aabbccdd 123qwe 123qweasd 123qweasdzxc
    qwe123 123abc 1234qwer qwer1234 asdf1234 1q1q1q1q 112233 11223344 1122334455 123123 123123123
    123321 1234554321 12344321 123454321 147258 147258369 1472583690 159357 159753 789456
    789456123 7894561230 741852963 963852741 987654 9876543210 696969 131313 101010 121212 232323
    007007 420420 31415926 3141592653 314159265358979 271828182845 correcthorsebatterystaple
    correct horse battery staple thequickbrownfox loremipsum foobar foobarbaz barfoo
";

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<(), WeakPassword> {
        judge(
            &Secret::new(text),
            &UserName::parse("alice.the.great").unwrap(),
            10,
        )
    }

    #[test]
    fn what_everybody_tries_first_is_refused() {
        for text in [
            "password123!",
            "P@ssw0rd2024",
            "1234567890",
            "0987654321",
            "aaaaaaaaaaaa",
            "ababababab",
            "abcdefghij",
            "qwertyuiop",
            "Qwertz123456",
            "letmeinletmein",
            "Administrator1",
            "correct horse battery staple",
            "1q2w3e4r5t",
            "!!changeme!!",
            "Summer 2025!!",
            "raspberrypi",
        ] {
            assert_eq!(judged(text), Err(WeakPassword::Common), "{text}");
        }
    }

    #[test]
    fn ordinary_good_passwords_are_let_through() {
        for text in [
            "blue teapot on fire",
            "mJ7#kkQz01",
            "grünerTee+Zwieback",
            "horse battery nine",
            "password of the lighthouse",
            "tangerine-otter-47",
        ] {
            assert_eq!(judged(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_a_guesser_finds_soon_is_refused_with_a_word_on_why() {
        for text in [
            "alice.the.great7",
            "Katherine1987",
            "zxcvfr43edcv",
            "17.03.1989!",
            "jenniferjennifer",
        ] {
            let said = judged(text).unwrap_err().to_string();
            assert!(said.len() > 40, "{text}: {said}");
        }
        let help = judged("Katherine1987").unwrap_err().to_string();
        assert!(help.contains("easy to guess"), "{help}");
    }

    #[test]
    fn up_to_128_characters_and_more_are_taken_in_good_time() {
        let long = "many words of a long sentence ".repeat(5);
        let (long, begun) = (long.get(..128).unwrap(), std::time::Instant::now());
        assert_eq!(judged(long), Ok(()));
        assert_eq!(judged(&format!("{long}{long}")), Ok(()));
        assert!(begun.elapsed() < std::time::Duration::from_secs(5));
    }

    #[test]
    fn length_and_name_are_looked_at() {
        assert_eq!(judged("short"), Err(WeakPassword::TooShort(10)));
        assert_eq!(judged("ääääää"), Err(WeakPassword::TooShort(10)));
        assert_eq!(judged(&"xy z".repeat(65)), Err(WeakPassword::TooLong));
        assert_eq!(judged("ALICE.the.great"), Err(WeakPassword::IsTheName));
    }
}
