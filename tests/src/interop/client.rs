//! The clients: a name, what it takes to run its script, and one question asked of it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::install::Workshop;
use crate::process::{self, Running};

/// Why an operation or a case did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The client cannot do this, whatever the broker: n/a.
    Unsupported(String),
    /// The broker answered with one of Kafka's error codes.
    Refused {
        /// Kafka's error code.
        code: i64,
        /// As the client words it.
        text: String,
    },
    /// Anything else, in words.
    Failed(String),
}

impl Stop {
    /// In words, for the report.
    pub fn text(&self) -> String {
        match self {
            Self::Unsupported(why) | Self::Failed(why) => why.clone(),
            Self::Refused { code, text } => format!("error {code}: {text}"),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What a script of one language needs.
#[derive(Debug, Clone, Copy)]
enum Language {
    Python(&'static str),
    Go(&'static str),
    Node(&'static str),
    Java,
    Kcat,
    Ottla,
}

/// The clients in the order of the table: name, language and script, and whether it can move a million records in
/// seconds.
const CLIENTS: &[(&str, Language, bool)] = &[
    ("java", Language::Java, true),
    ("confluent", Language::Python("confluent"), true),
    ("franz-go", Language::Go("franz-go"), true),
    ("sarama", Language::Go("sarama"), true),
    ("kafka-go", Language::Go("kafka-go"), true),
    ("kafka-python", Language::Python("kafkapython"), false),
    ("aiokafka", Language::Python("aio"), false),
    ("kafkajs", Language::Node("kafkajs"), false),
    ("kcat", Language::Kcat, true),
    ("ottla", Language::Ottla, true),
];

/// The client that prepares topics and stands in where another cannot read or write.
pub const REFERENCE: &str = "franz-go";

/// The names of all clients.
pub fn names() -> impl Iterator<Item = &'static str> {
    CLIENTS.iter().map(|(name, ..)| *name)
}

/// A client that is installed.
#[derive(Debug, Clone)]
pub struct Client {
    /// As in the table.
    pub name: &'static str,
    /// Moves a million records in seconds.
    pub is_fast: bool,
    command: Vec<String>,
}

impl Client {
    /// Installs what `name` needs; in words, why not.
    pub fn install(workshop: &Workshop, name: &str) -> Result<Self, String> {
        let (name, language, is_fast) =
            *CLIENTS.iter().find(|(known, ..)| *known == name).ok_or_else(|| format!("no client is called {name}"))?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let command = match language {
            Language::Python(script) => {
                vec![
                    text(&workshop.python()?),
                    "-B".into(),
                    text(&workshop.scripts("python").join(format!("{script}.py"))),
                ]
            }
            Language::Go(client) => vec![text(&workshop.go()?), client.into()],
            Language::Node(script) => vec!["node".into(), text(&workshop.node()?.join(format!("{script}.js")))],
            Language::Java => vec!["java".into(), "-Xmx1g".into(), "-cp".into(), workshop.java()?, "Client".into()],
            Language::Kcat => {
                workshop.debian("kcat")?;
                let path = text(&workshop.scripts("kcat").join("kcat.py"));
                vec![text(&workshop.python()?), "-B".into(), path]
            }
            Language::Ottla => {
                let path = text(&workshop.scripts("ottla").join("ottla.py"));
                vec![text(&workshop.python()?), "-B".into(), path]
            }
        };
        Ok(Self { name, is_fast, command })
    }

    /// Runs one operation in `dir` (which keeps the request and the streams) and gives its answer.
    pub fn ask(&self, dir: &Path, operation: &str, request: &Value, limit: Duration) -> Result<Value, Stop> {
        self.start(dir, operation, request)?.finish(limit)
    }

    /// Begins one operation, to run beside us.
    pub fn start(&self, dir: &Path, operation: &str, request: &Value) -> Result<Operation, Stop> {
        fs::create_dir_all(dir)?;
        let file = dir.join("request.json");
        fs::write(&file, request.to_string())?;
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg(operation).arg(&file);
        let process = process::start(&mut command, Stdio::null(), dir)?;
        Ok(Operation { process, what: format!("{} {operation} {request}", self.name) })
    }
}

/// An operation that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Operation {
    /// The client.
    pub process: Running,
    what: String,
}

impl Operation {
    /// Its answer.
    pub fn finish(self, limit: Duration) -> Result<Value, Stop> {
        let Self { process, what } = self;
        let finished = process.finish(limit)?;
        let said = || format!("{what}\n{}", clip(&finished.transcript()));
        let last = finished.stdout.lines().last().unwrap_or_default();
        let Ok(answer) = serde_json::from_str::<Value>(last) else {
            return Err(Stop::Failed(said()));
        };
        if let Some(why) = answer["unsupported"].as_str() {
            return Err(Stop::Unsupported(why.to_owned()));
        }
        match (answer["error"].as_str(), answer["code"].as_i64()) {
            (None, _) if finished.succeeded() => Ok(answer),
            (Some(text), Some(code)) => Err(Stop::Refused { code, text: text.to_owned() }),
            _ => Err(Stop::Failed(said())),
        }
    }
}

/// The end of a long transcript.
fn clip(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
