//! Holds the parts of the way to the instructions that they took when somebody last looked: the
//! same functions that `cargo bench --bench parts` times, once each under callgrind.
//!
//! `cargo test --test instructions` compares with `benches/instructions.txt`, which
//! `RECORD_INSTRUCTIONS=1 cargo test --test instructions` writes.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test falls over, speaks, and is told by the environment what to do"
)]

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

#[path = "parts/part.rs"]
mod part;

/// How many more instructions than recorded are no regression: seeds of hash maps and the
/// allocator's mood move a part by less than one in a hundred.
const TOLERANCE_PERCENT: u64 = 5;
/// Each part is done so often before it counts (what is made once is made then), and so often
/// while it counts.
const TIMES: u64 = 20;
const RECORD: &str = "benches/instructions.txt";

fn main() -> ExitCode {
    if env::args().any(|it| it == "--counted") {
        for mut part in part::all() {
            for _ in 0..TIMES {
                (part.once)();
            }
            counted(&mut part);
        }
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(failed) => {
            let passed = part::all().len() - failed;
            let verdict = if failed == 0 { "ok" } else { "FAILED" };
            println!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored");
            if failed == 0 {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(why) => {
            println!("test instructions ... FAILED\n     {why}");
            println!("\ntest result: FAILED. 0 passed; 1 failed; 0 ignored");
            ExitCode::FAILURE
        }
    }
}

/// Callgrind counts from the beginning of this function to its end.
#[inline(never)]
fn counted(part: &mut part::Part) {
    for _ in 0..TIMES {
        (part.once)();
    }
}

fn compare() -> Result<usize, String> {
    let now = Setting::of_this_machine()?;
    let found = count()?;
    if env::var("RECORD_INSTRUCTIONS").is_ok() {
        fs::write(RECORD, now.write(&found)).map_err(|it| format!("{RECORD}: {it}"))?;
        println!("recorded in {RECORD}");
    }
    let recorded = now.read()?;
    let mut failed = 0;
    for (name, count) in &found {
        let Some(before) = recorded.get(name) else {
            failed += 1;
            println!("test instructions::{name} ... FAILED\n     it is not in {RECORD}; {HOW}");
            continue;
        };
        let percent = |it: u64| it * 100 / before;
        let most = before * (100 + TOLERANCE_PERCENT) / 100;
        if *count > most {
            failed += 1;
            println!(
                "test instructions::{name} ... FAILED\n     {count} instructions, {before} were recorded: {} %; {HOW}",
                percent(*count)
            );
        } else {
            println!("test instructions::{name} ... ok");
            if percent(*count) < 100 - TOLERANCE_PERCENT {
                println!("     {count} instructions instead of {before}: well done; {HOW}");
            }
        }
    }
    Ok(failed)
}

const HOW: &str =
    "if that is meant to be, record it: RECORD_INSTRUCTIONS=1 cargo test --test instructions";

/// What the counts hang on beside the code.
struct Setting {
    rustc: String,
    machine: &'static str,
}

impl Setting {
    fn of_this_machine() -> Result<Self, String> {
        let said = Command::new("rustc").arg("--version").output();
        let said = said.map_err(|it| format!("rustc: {it}"))?;
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let rustc = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let asked = fs::read_to_string("rust-toolchain.toml").unwrap_or_default();
        if !asked.contains(&format!("channel = \"{rustc}\"")) {
            return Err(format!(
                "this is rustc {rustc}, and rust-toolchain.toml asks for another: the counts would mean nothing"
            ));
        }
        let machine = env::consts::ARCH;
        if machine == "x86_64" && !is_avx2_there() {
            return Err("this processor has no AVX2: other code runs than was counted".to_owned());
        }
        Ok(Self { rustc, machine })
    }

    fn write(&self, found: &BTreeMap<String, u64>) -> String {
        let mut text = format!(
            "# Instructions of each part in the test build, {TIMES} times over; {HOW}\nrustc {}\nmachine {}\n",
            self.rustc, self.machine
        );
        for (name, count) in found {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name} {count}");
        }
        text
    }

    fn read(&self) -> Result<BTreeMap<String, u64>, String> {
        let text = fs::read_to_string(RECORD).map_err(|it| format!("{RECORD}: {it}"))?;
        let pairs: BTreeMap<&str, &str> = text
            .lines()
            .filter(|it| !it.starts_with('#'))
            .filter_map(|it| it.split_once(' '))
            .collect();
        for (key, mine) in [("rustc", self.rustc.as_str()), ("machine", self.machine)] {
            let theirs = pairs.get(key).copied().unwrap_or("nothing");
            if theirs != mine {
                return Err(format!(
                    "{RECORD} was made with {key} {theirs}, this is {mine}; {HOW}"
                ));
            }
        }
        Ok(pairs
            .into_iter()
            .filter_map(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
            .collect())
    }
}

fn is_avx2_there() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|it| it.contains(" avx2 "))
}

/// Runs this program under callgrind, which writes a file each time `counted` returns.
fn count() -> Result<BTreeMap<String, u64>, String> {
    let folder = tempfile::tempdir().map_err(|it| it.to_string())?;
    let out = folder.path().join("counts");
    let said = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=instructions::counted",
            "--dump-after=instructions::counted",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().map_err(|it| it.to_string())?)
        .arg("--counted")
        .output()
        .map_err(|it| format!("valgrind: {it}; tests/live/setup.sh installs it"))?;
    if !said.status.success() {
        return Err(format!(
            "valgrind: {}",
            String::from_utf8_lossy(&said.stderr)
        ));
    }
    let mut counts = BTreeMap::new();
    for (number, part) in (1..).zip(part::all()) {
        let dump = PathBuf::from(format!("{}.{number}", out.display()));
        counts.insert(part.name.to_owned(), total(&dump)?);
    }
    Ok(counts)
}

fn total(dump: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(dump).map_err(|it| format!("{}: {it}", dump.display()))?;
    let line = |name| text.lines().find_map(|it| it.strip_prefix(name));
    line("totals: ")
        .or_else(|| line("summary: "))
        .and_then(|it| it.trim().parse().ok())
        .ok_or_else(|| format!("{} holds no count", dump.display()))
}
