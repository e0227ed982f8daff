//! The differential oracle: whatever the guard lets through, the official parsers of Engine.IO and
//! Socket.IO read as it did, and what it rewrote says there what it should.
//!
//! Connections are made up from a seed, judged by the gateway's own code (`play.rs`), and read
//! again by one node process (`reader.mjs`). `cargo test --test oracle` tries 100,000 packets, or as
//! many as `PORTCULLIS_PACKETS` says; `PORTCULLIS_SEED` begins elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test falls over, speaks, and is told by the environment what to do"
)]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

mod lies;
mod make;
mod play;
mod value;

/// Packets that are tried when nobody says otherwise.
const PACKETS: u64 = 100_000;
/// Connections that go to the other reading at once.
const BATCH: u64 = 200;
/// So many disagreements are told in full.
const TOLD: usize = 10;

/// What a test says, whether it passed or not.
type Said = Result<String, String>;
/// A test, by its name.
type Test = (&'static str, fn() -> Said);

fn main() -> ExitCode {
    let tests: [Test; 2] = [
        ("what_passes_is_read_alike", what_passes_is_read_alike),
        ("a_reading_that_is_wrong_is_noticed", lies_are_noticed),
    ];
    let wanted = env::args().skip(1).find(|it| !it.starts_with('-'));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests {
        if wanted.as_ref().is_some_and(|it| !name.contains(it)) {
            continue;
        }
        match test() {
            Ok(said) => {
                println!("{said}test {name} ... ok");
                passed += 1;
            }
            Err(said) => {
                println!("{said}test {name} ... FAILED");
                failed += 1;
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The number in this variable of the environment.
fn told(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// The node process, which reads a line and answers with one.
struct Reader {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Reader {
    fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle/reader.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node: tests/live/setup.sh installs what is missing");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            input,
            output,
        }
    }

    fn ask(&mut self, question: &Value) {
        let mut line = question.to_string();
        line.push('\n');
        self.input.write_all(line.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn answer(&mut self) -> Value {
        let line = self.output.next().expect("an answer of node's").unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Node ends with its input.
    fn end(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        child.wait().unwrap();
    }
}

#[derive(Default)]
struct Tally {
    alike: u64,
    /// Of these, rewritten by the guard.
    rewritten: u64,
    wrong: Vec<String>,
    /// By reason: accepted there, and refused there too.
    refused: BTreeMap<String, (u64, u64)>,
    there: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, answer: &Value) {
        self.alike += answer["alike"].as_u64().unwrap();
        self.rewritten += answer["rewritten"].as_u64().unwrap();
        for it in answer["wrong"].as_array().unwrap() {
            self.wrong.push(format!("seed {}: {}", it[0], it[1]));
        }
        for (why, counts) in answer["refused"].as_object().unwrap() {
            let sum = self.refused.entry(why.clone()).or_default();
            sum.0 += counts[0].as_u64().unwrap();
            sum.1 += counts[1].as_u64().unwrap();
        }
        for (why, count) in answer["there"].as_object().unwrap() {
            *self.there.entry(why.clone()).or_default() += count.as_u64().unwrap();
        }
    }
}

fn what_passes_is_read_alike() -> Said {
    let packets = told("PORTCULLIS_PACKETS").unwrap_or(PACKETS);
    let first = told("PORTCULLIS_SEED").unwrap_or(1);
    let (from, place) = (Instant::now(), play::Place::new());
    let (mut reader, mut tally) = (Reader::start(), Tally::default());
    let (mut seed, mut made, mut asked) = (first, 0, 0);
    while made < packets && tally.wrong.len() < TOLD {
        let mut batch = Vec::new();
        for _ in 0..BATCH {
            let (written, count) = play::play(&place, seed);
            batch.push(written);
            made += count;
            seed += 1;
        }
        reader.ask(&json!({ "lists": place.lists, "conversations": batch }));
        asked += 1;
        // Node reads one batch while the next is made.
        if asked > 1 {
            tally.add(&reader.answer());
        }
    }
    tally.add(&reader.answer());
    reader.end();
    let mut said = format!(
        "oracle: {made} packets on {} connections from seed {first} in {} s: {} passed and were read again, {} of them rewritten; {} read otherwise\n",
        seed - first,
        from.elapsed().as_secs(),
        tally.alike,
        tally.rewritten,
        tally.wrong.len(),
    );
    for (why, (taken, not)) in &tally.refused {
        writeln!(
            said,
            "     refused: {why}: {taken} that are taken there, {not} that are not"
        )
        .unwrap();
    }
    for (why, count) in &tally.there {
        writeln!(said, "     passed, and refused there: {why}: {count}").unwrap();
    }
    for it in tally.wrong.iter().take(TOLD) {
        writeln!(said, "     {it}").unwrap();
    }
    // A run in which nothing was compared shows nothing.
    if tally.wrong.is_empty() && tally.alike * 2 > made && tally.rewritten * 20 > made {
        Ok(said)
    } else {
        Err(said)
    }
}

/// The other reading itself: what it must not take for alike.
fn lies_are_noticed() -> Said {
    let (truth, lies) = (lies::truth(), lies::all());
    let mut conversations = vec![truth.clone()];
    for (_, place, value) in &lies {
        let mut told = truth.clone();
        *told["steps"]
            .pointer_mut(place)
            .expect("a place in the steps") = value.clone();
        conversations.push(told);
    }
    let mut reader = Reader::start();
    let mut unnoticed = Vec::new();
    for (at, it) in conversations.into_iter().enumerate() {
        let lists = json!({ "pids": {}, "tokens": ["OURS"] });
        reader.ask(&json!({ "lists": lists, "conversations": [it] }));
        let answer = reader.answer();
        let is_told = answer["wrong"].as_array().is_some_and(|it| !it.is_empty());
        match at.checked_sub(1).and_then(|it| lies.get(it)) {
            Some((what, ..)) if !is_told => unnoticed.push((*what).to_owned()),
            None if is_told => unnoticed.push(format!("the truth is called wrong: {answer}")),
            Some(_) | None => {}
        }
    }
    reader.end();
    if unnoticed.is_empty() {
        Ok(String::new())
    } else {
        Err(format!("     {}\n", unnoticed.join("\n     ")))
    }
}
