//! The live tests: `portcullis` itself between real parts, a Docker Engine with Node-RED and uibuilder, Chromium, the
//! real socket.io. This program sets the parts up, runs one script after the other, each under a limit of time, counts
//! what passed, and ends everything that it started. `cargo test --test live -- ending` runs the scripts whose name has
//! `ending` in it.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test says what it does"
)]

use std::{
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Each script, what it proves, how long it may take, and what it needs.
const SCRIPTS: &[Script] = &[
    // Pictures and measurements of every page there is, as the unit tests of `portal::gallery` left them.
    Script {
        name: "screens",
        limit: Duration::from_mins(4),
        needs: Needs::Nothing,
    },
    // The same pages without a mouse and without eyes.
    Script {
        name: "a11y",
        limit: Duration::from_mins(6),
        needs: Needs::Nothing,
    },
    Script {
        name: "demo",
        limit: Duration::from_mins(5),
        needs: Needs::Nothing,
    },
    Script {
        name: "explain",
        limit: Duration::from_mins(6),
        needs: Needs::Nothing,
    },
    Script {
        name: "operator",
        limit: Duration::from_mins(4),
        needs: Needs::Nothing,
    },
    // Chromium's virtual authenticators, and a client from PyPI.
    Script {
        name: "keys",
        limit: Duration::from_mins(5),
        needs: Needs::Nothing,
    },
    Script {
        name: "account",
        limit: Duration::from_mins(5),
        needs: Needs::Nothing,
    },
    Script {
        name: "strangers",
        limit: Duration::from_mins(3),
        needs: Needs::Nothing,
    },
    Script {
        name: "ending",
        limit: Duration::from_mins(7),
        needs: Needs::Nothing,
    },
    Script {
        name: "tokens",
        limit: Duration::from_mins(5),
        needs: Needs::Nothing,
    },
    // The real socket.io in a container on the host's network, and clients of two makes.
    Script {
        name: "packets",
        limit: Duration::from_mins(6),
        needs: Needs::Engine,
    },
    // The same with the socket.io of before, where a tenant asks for it.
    Script {
        name: "eio3",
        limit: Duration::from_mins(6),
        needs: Needs::Engine,
    },
    Script {
        name: "nodered",
        limit: Duration::from_mins(10),
        needs: Needs::Engine,
    },
    // The companion's own tests, then the companion in containers.
    Script {
        name: "companion",
        limit: Duration::from_mins(8),
        needs: Needs::Engine,
    },
    Script {
        name: "client",
        limit: Duration::from_mins(6),
        needs: Needs::Engine,
    },
    Script {
        name: "ceremonies",
        limit: Duration::from_mins(25),
        needs: Needs::Nothing,
    },
    Script {
        name: "crash",
        limit: Duration::from_mins(25),
        needs: Needs::Nothing,
    },
];

/// One file `tests/live/<name>.mjs`.
struct Script {
    name: &'static str,
    limit: Duration,
    needs: Needs,
}

#[derive(PartialEq)]
enum Needs {
    Nothing,
    Engine,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: Vec<String>,
}

fn main() -> ExitCode {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/live");
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| !it.starts_with('-'))
        .collect();
    let chosen: Vec<&Script> = SCRIPTS
        .iter()
        .filter(|it| wanted.is_empty() || wanted.iter().any(|name| it.name.contains(name.as_str())))
        .collect();
    let mut tally = Tally::default();
    if let Err(error) = run(&here, &chosen, &mut tally) {
        println!("test setting up ... FAILED\n     {error}");
        tally.failed.push("setting up".to_owned());
    }
    for name in &tally.failed {
        println!("failed: {name}");
    }
    let verdict = if tally.failed.is_empty() {
        "ok"
    } else {
        "FAILED"
    };
    println!(
        "\ntest result: {verdict}. {} passed; {} failed; 0 ignored",
        tally.passed,
        tally.failed.len()
    );
    if tally.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Sets up, runs the chosen scripts, and stops the engine if it was started here.
fn run(here: &Path, chosen: &[&Script], tally: &mut Tally) -> io::Result<()> {
    shell(here, "setup.sh", "all")?;
    let mut engine = None;
    if chosen.iter().any(|it| it.needs == Needs::Engine) {
        let ran = shell(here, "engine.sh", "status").is_ok();
        let address = shell(here, "engine.sh", "start")?;
        engine = Some((address, ran));
        shell(here, "engine.sh", "images")?;
    }
    for script in chosen {
        play(
            here,
            script,
            engine.as_ref().map(|(address, _)| address.as_str()),
            tally,
        )?;
    }
    if let Some((_, false)) = engine {
        shell(here, "engine.sh", "stop")?;
    }
    Ok(())
}

/// Runs one of the folder's shell scripts; its standard output, without the line's end.
fn shell(here: &Path, script: &str, arguments: &str) -> io::Result<String> {
    let said = Command::new("bash")
        .arg(here.join(script))
        .args(arguments.split(' '))
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    if script == "setup.sh" {
        println!("{text}");
    }
    if said.status.success() {
        Ok(text)
    } else {
        Err(io::Error::other(format!(
            "{script} {arguments}: {}",
            said.status
        )))
    }
}

/// Plays one script to its end or its limit, and counts its lines.
fn play(here: &Path, script: &Script, engine: Option<&str>, tally: &mut Tally) -> io::Result<()> {
    println!("\nlive: {}", script.name);
    let mut command = Command::new("node");
    command
        .args([
            "--test-reporter=./lib/reporter.mjs",
            "--test-reporter-destination=stdout",
        ])
        .arg(format!("{}.mjs", script.name))
        .current_dir(here)
        .env("PORTCULLIS_BIN", env!("CARGO_BIN_EXE_portcullis"))
        .stdout(Stdio::piped());
    if let Some(address) = engine {
        command.env("DOCKER_HOST", address);
    }
    let mut child = command.spawn()?;
    let lines = lines_of(&mut child);
    let end = Instant::now() + script.limit;
    let (passed, before) = (tally.passed, tally.failed.len());
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => count(script, &line, tally),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                println!("test {} within {:?} ... FAILED", script.name, script.limit);
                tally
                    .failed
                    .push(format!("{} within {:?}", script.name, script.limit));
                end_of(&mut child)?;
                break;
            }
        }
    }
    let status = child.wait()?;
    if status.success() && tally.passed == passed && tally.failed.len() == before {
        // A script that says nothing in cargo's way is one test.
        println!("test {} ... ok", script.name);
        tally.passed += 1;
    }
    if !status.success() && tally.failed.len() == before {
        println!(
            "test {} ... FAILED\n     it ended with {status}",
            script.name
        );
        tally.failed.push(script.name.to_owned());
    }
    if script.needs == Needs::Engine {
        shell(here, "engine.sh", &format!("sweep {}", child.id()))?;
    }
    Ok(())
}

/// The child's lines, as they come.
fn lines_of(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

fn count(script: &Script, line: &str, tally: &mut Tally) {
    println!("{line}");
    let Some(rest) = line.strip_prefix("test ") else {
        return;
    };
    if rest.contains(" ... ok") {
        tally.passed += 1;
    } else if let Some(name) = rest.strip_suffix(" ... FAILED") {
        tally.failed.push(format!("{}: {name}", script.name));
    }
}

/// Asks the script to end with all that it started; insists after ten seconds.
fn end_of(child: &mut Child) -> io::Result<()> {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM)?;
    }
    let end = Instant::now() + Duration::from_secs(10);
    while child.try_wait()?.is_none() {
        if Instant::now() > end {
            eprintln!("live: it had to be killed");
            return child.kill();
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
