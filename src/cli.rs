//! The command line: one file per subcommand. Commands that change something open the store
//! themselves, beside a gateway that may be running, and wait until it has applied the change.

use std::{fmt, net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

mod audit;
mod claim;
mod desk;
mod explain;
mod print;
mod inspect;
mod run;
mod session;
mod user;

pub use audit::AuditArgs;
pub use claim::ClaimCommand;
pub use session::SessionCommand;
pub use user::UserCommand;

/// An authenticating gateway for Node-RED and uibuilder containers.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, about, max_term_width = 100)]
pub struct Cli {
    /// The configuration file.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "config/portcullis.toml"
    )]
    pub config: PathBuf,
    /// Listings and explanations as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway. SIGHUP or a change of the file reloads; SIGTERM drains.
    Run,
    /// Run a self-contained demonstration: own certificates, own store, own tenant.
    Demo(DemoArgs),
    /// Validate the configuration: exit 0 when it is good, 2 when it is not.
    Check {
        /// Print the configuration's JSON schema instead.
        #[arg(long)]
        schema: bool,
    },
    /// Say which route and rule decide on a URL, and what the answer is.
    Explain(ExplainArgs),
    /// Show the routing table, with what was refused of which container and why.
    Routes,
    /// Accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Sessions: takes effect on open sockets before it returns.
    #[command(subcommand)]
    Session(SessionCommand),
    /// Which tenant owns which host name.
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Who did what to which account, when and from where: one JSON object a line.
    Audit(AuditArgs),
    /// Exit 0 when the local gateway is ready.
    Healthcheck,
}

/// `portcullis demo`
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The port to serve on.
    #[arg(long, default_value_t = 8443)]
    pub port: u16,
    /// Where to keep the store.
    #[arg(long, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
    /// Where to keep the private CA and the certificate.
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub certs: PathBuf,
    /// The address to bind.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    pub listen: IpAddr,
    /// Make the containers of a local Docker Engine tenants too.
    #[arg(long)]
    pub docker: bool,
}

/// `portcullis explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The URL that is asked for; `wss://` for a WebSocket handshake.
    pub url: String,
    /// As this user; nobody otherwise.
    #[arg(long)]
    pub user: Option<String>,
    /// The method.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// Signed in with so many factors: 1, 2, or 3 with a hardware key.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3))]
    pub level: u8,
}

/// How a command ended, as its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 0
    Done,
    /// 1: failed, or stored and not confirmed by every running gateway.
    Failed,
    /// 2: bad usage or bad configuration.
    BadUsage,
    /// 3: there is no such thing.
    NotFound,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::BadUsage => 2,
            Outcome::NotFound => 3,
        })
    }
}

/// An end that is not a success, with its exit code and its words.
#[derive(Debug, thiserror::Error)]
struct Stop {
    outcome: Outcome,
    message: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Ends a command with an exit code of its own.
fn stop(outcome: Outcome, message: impl Into<String>) -> anyhow::Error {
    Stop {
        outcome,
        message: message.into(),
    }
    .into()
}

/// Does what was asked; says on standard error what went wrong.
pub fn run(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Run => run::gateway(&cli.config),
        Command::Demo(args) => run::demo(&args),
        Command::Check { schema: true } => run::schema(),
        Command::Check { schema: false } => run::check(&cli.config),
        Command::Explain(args) => explain::run(&cli.config, cli.json, &args),
        Command::Routes => inspect::routes(&cli.config, cli.json),
        Command::User(command) => user::run(&cli.config, cli.json, command),
        Command::Session(command) => session::run(&cli.config, cli.json, command),
        Command::Claim(command) => claim::run(&cli.config, cli.json, command),
        Command::Audit(args) => audit::run(&cli.config, &args),
        Command::Healthcheck => inspect::healthcheck(&cli.config),
    };
    match done {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            print::complain(format_args!("portcullis: {error:#}"));
            error
                .downcast_ref::<Stop>()
                .map_or(Outcome::Failed, |it| it.outcome)
                .into()
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_takes_the_file_after_it_too() {
        for line in [
            "portcullis --config x.toml user list",
            "portcullis user list --config x.toml --json",
            "portcullis session revoke --all --config x.toml",
            "portcullis claim release a.example.net --config x.toml",
            "portcullis audit --user alice --since 24h --json --config x.toml",
            "portcullis user bans --lift --user alice --config x.toml",
            "portcullis user add alice --groups a,b --password-stdin --config x.toml",
        ] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            assert_eq!(cli.config, PathBuf::from("x.toml"), "{line}");
        }
    }

    #[test]
    fn nonsense_is_bad_usage() {
        for line in [
            "portcullis",
            "portcullis user add -rf",
            "portcullis user add a,b",
            "portcullis session revoke",
            "portcullis session revoke abc --all",
            "portcullis explain https://a/ --level 4",
            "portcullis audit --since yesterday",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
