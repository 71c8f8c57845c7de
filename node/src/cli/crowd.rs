//! `ottla dev --nodes 3`: a cluster on this machine, each node a process of its own, with its own properties file.
//!
//! The nodes are `ottla serve`, started by this process and stopped with it. One that ends is reported with the command
//! that starts it again: that is how failover is tried out.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ottla_core::log::names;
use rustix::process::{Pid, Signal, kill_process};

use super::{DevArgs, Failure, print};
use crate::logging::LogOptions;
use crate::{service, signals};

/// Controllers listen so far above the clients' ports.
const CONTROLLER_PORTS: u16 = 100;

/// How long nodes have to end after a failure; their own shutdown takes less.
const LAST_WAIT: Duration = Duration::from_secs(30);

/// One node, as it is started.
struct Member {
    id: u16,
    clients: String,
    controllers: String,
    http: Option<String>,
    data: PathBuf,
    properties: PathBuf,
    log: PathBuf,
    pid: u32,
    /// From its start until its end was heard of.
    is_running: bool,
    is_ready: bool,
}

/// What happens to the nodes.
enum Event {
    Ready(u16),
    Ended(u16, io::Result<ExitStatus>),
    /// This process is asked to stop.
    Stop,
}

/// Starts the nodes, and returns when all have ended.
pub(super) fn run(args: &DevArgs, log: &LogOptions) -> Result<(), Failure> {
    let mut members = plan(args)?;
    let (tell, events) = mpsc::channel();
    let outcome = start_all(&mut members, args, log, &tell).and_then(|founder| follow(&mut members, founder, &events));
    if outcome.is_err() {
        stop_all(&mut members, &events);
    }
    outcome
}

/// Gives the node that is to found the cluster, if it is new.
fn start_all(
    members: &mut [Member],
    args: &DevArgs,
    log: &LogOptions,
    tell: &Sender<Event>,
) -> Result<Option<u16>, Failure> {
    // A cluster is born once: a node whose directory was lost must not found another beside those that are left.
    // A log directory has it once its node has begun or joined a cluster.
    let is_new = members.iter().all(|member| !member.data.join(names::META_PROPERTIES).exists());
    for member in &*members {
        [&member.clients, &member.controllers].into_iter().try_for_each(|address| service::check_free(address))?;
        member.http.iter().try_for_each(|address| service::bind_http(address).map(drop))?;
    }
    fs::create_dir_all(&args.data)?;
    watch_signals(tell.clone())?;
    for at in 0..members.len() {
        fs::write(&members[at].properties, properties(members, at, args))?;
        let child = start(&members[at], is_new && at == 0, log)?;
        members[at].pid = child.id();
        members[at].is_running = true;
        watch(members[at].id, child, tell.clone())?;
    }
    Ok(members.first().filter(|_| is_new).map(|member| member.id))
}

/// After a failure no node is left behind; but none is waited for for ever.
fn stop_all(members: &mut [Member], events: &Receiver<Event>) {
    let until = Instant::now() + LAST_WAIT;
    members.iter().filter(|member| member.is_running).for_each(terminate);
    while members.iter().any(|member| member.is_running) {
        match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Event::Ended(id, _)) => {
                members.iter_mut().filter(|member| member.id == id).for_each(|member| member.is_running = false);
            }
            Ok(Event::Ready(_) | Event::Stop) => {}
            Err(_) => return,
        }
    }
}

fn plan(args: &DevArgs) -> Result<Vec<Member>, Failure> {
    let wrong = || Failure::usage(format!("--listen {}: write HOST:PORT, as in 127.0.0.1:9092", args.listen));
    let (host, port) = args.listen.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let room = port > 0 && port.checked_add(CONTROLLER_PORTS + args.nodes).is_some();
    if !room {
        let last = u16::MAX - CONTROLLER_PORTS - args.nodes;
        return Err(Failure::usage(format!("--listen {}: several nodes need a port from 1 to {last}", args.listen)));
    }
    let http = args.common.http.as_deref().map(|address| http_ports(address, args.nodes)).transpose()?;
    let member = |id: u16| Member {
        id,
        clients: format!("{host}:{}", port + id - 1),
        http: http.map(|(host, port)| format!("{host}:{}", port + id - 1)),
        controllers: format!("{host}:{}", port + CONTROLLER_PORTS + id - 1),
        data: args.data.join(format!("node-{id}")),
        properties: args.data.join(format!("node-{id}.properties")),
        log: args.data.join(format!("node-{id}.log")),
        pid: 0,
        is_running: false,
        is_ready: false,
    };
    Ok((1..=args.nodes).map(member).collect())
}

/// Where the first node serves HTTP: the others do on the ports above it.
fn http_ports(address: &str, nodes: u16) -> Result<(&str, u16), Failure> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
    let fits = |(_, port): &(&str, u16)| *port > 0 && port.checked_add(nodes).is_some();
    parts.filter(fits).ok_or_else(|| {
        let last = u16::MAX - nodes;
        Failure::usage(format!("--http {address}: write HOST:PORT; several nodes need a port from 1 to {last}"))
    })
}

/// The properties file of a node: what `ottla dev` sets, for several.
fn properties(members: &[Member], at: usize, args: &DevArgs) -> String {
    let member = &members[at];
    let replicas = members.len().min(3);
    let controllers: Vec<&str> = members.iter().map(|member| member.controllers.as_str()).collect();
    let pairs = [
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", member.id.to_string()),
        ("listeners", format!("PLAINTEXT://{},CONTROLLER://{}", member.clients, member.controllers)),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("controller.quorum.bootstrap.servers", controllers.join(",")),
        ("controller.quorum.auto.join.enable", "true".to_owned()),
        ("log.dirs", member.data.display().to_string()),
        ("default.replication.factor", replicas.to_string()),
        ("min.insync.replicas", replicas.div_ceil(2).to_string()),
        ("offsets.topic.replication.factor", replicas.to_string()),
        ("transaction.state.log.replication.factor", replicas.to_string()),
        ("transaction.state.log.min.isr", replicas.div_ceil(2).to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        ("group.consumer.assignment.interval.ms", "0".to_owned()),
    ];
    let http = member.http.iter().map(|address| ("ottla.http.listener", address.clone()));
    let given = args.common.settings.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let mut text = String::new();
    for (key, value) in pairs.into_iter().chain(http).chain(given) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key}={value}");
    }
    text
}

fn start(member: &Member, founds: bool, log: &LogOptions) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--config").arg(&member.properties);
    if let Some(format) = log.format.to_possible_value() {
        command.arg("--log-format").arg(format.get_name());
    }
    if let Some(filter) = &log.filter {
        command.arg("--log-level").arg(filter);
    }
    if founds {
        command.arg("--new-cluster");
    }
    let log = File::options().create(true).append(true).open(&member.log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()
}

/// Tells when the node is ready and when it has ended.
fn watch(id: u16, mut child: Child, tell: Sender<Event>) -> io::Result<()> {
    let stdout = child.stdout.take();
    let watch = move || {
        let lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines());
        for line in lines.map_while(Result::ok) {
            if line.contains(" ready: ") {
                // Nobody listens any more only when the process ends.
                let _ = tell.send(Event::Ready(id));
            }
        }
        let _ = tell.send(Event::Ended(id, child.wait()));
    };
    thread::Builder::new().name(format!("node-{id}")).spawn(watch).map(drop)
}

fn watch_signals(tell: Sender<Event>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let interrupted = {
        let _inside = runtime.enter();
        signals::interrupted()?
    };
    thread::spawn(move || {
        runtime.block_on(interrupted);
        let _ = tell.send(Event::Stop);
        // A second signal is heard on this runtime.
        runtime.block_on(std::future::pending::<()>());
    });
    Ok(())
}

/// Tells what becomes of the nodes until all have ended. Without the one that is to found the cluster the others would
/// wait for ever, so they are stopped.
fn follow(members: &mut [Member], founder: Option<u16>, events: &Receiver<Event>) -> Result<(), Failure> {
    let (mut stopping, mut unborn) = (false, false);
    while members.iter().any(|member| member.is_running) {
        let Ok(event) = events.recv() else { break };
        match event {
            Event::Ready(id) => {
                members.iter_mut().filter(|member| member.id == id).for_each(|member| member.is_ready = true);
                if members.iter().all(|member| member.is_ready) {
                    print(&summary(members))?;
                }
            }
            Event::Ended(id, status) => {
                members.iter_mut().filter(|member| member.id == id).for_each(|member| member.is_running = false);
                let member = members.iter().find(|member| member.id == id);
                if let Some(member) = member.filter(|_| !stopping) {
                    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                    print(&report(member, &how))?;
                    if founder == Some(id) && !member.is_ready {
                        (stopping, unborn) = (true, true);
                        members.iter().filter(|member| member.is_running).for_each(terminate);
                    }
                }
            }
            Event::Stop => {
                stopping = true;
                members.iter().filter(|member| member.is_running).for_each(terminate);
            }
        }
    }
    match (unborn, stopping) {
        (true, _) => Err(Failure::new("there is no cluster: the node that was to found it did not start")),
        (false, true) => Ok(()),
        (false, false) => Err(Failure::new("every node has ended; their logs say why")),
    }
}

/// What is said of a node that ended by itself.
fn report(member: &Member, how: &str) -> String {
    let (id, log, again) = (member.id, member.log.display(), again(&member.properties));
    if member.is_ready {
        return format!("node {id} ended: {how}; its log is {log}. Start it again with\n  {again}\n");
    }
    let why = last_line(&member.log).map_or_else(String::new, |line| format!("\n  {line}\n"));
    format!("node {id} did not start: {how}; its log is {log}.{why}")
}

/// The last line of a log that says anything.
fn last_line(log: &Path) -> Option<String> {
    let text = fs::read(log).ok()?;
    let tail = String::from_utf8_lossy(&text[text.len().saturating_sub(4096)..]).into_owned();
    tail.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}

/// Asks a node to stop.
fn terminate(member: &Member) {
    if let Some(pid) = i32::try_from(member.pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
}

fn again(properties: &Path) -> String {
    format!("ottla serve --config {}", properties.display())
}

fn summary(members: &[Member]) -> String {
    let mut text =
        format!("{} nodes are ready.\n\nNODE  CLIENTS          CONTROLLERS      PID      LOG\n", members.len());
    for it in members {
        let (id, clients, controllers, pid, log) = (it.id, &it.clients, &it.controllers, it.pid, it.log.display());
        let _ = writeln!(text, "{id:<4}  {clients:<15}  {controllers:<15}  {pid:<7}  {log}");
    }
    let http: Vec<&str> = members.iter().filter_map(|member| member.http.as_deref()).collect();
    if !http.is_empty() {
        let _ = writeln!(text, "\nHTTP at {}", http.join(", "));
    }
    let bootstrap: Vec<&str> = members.iter().map(|member| member.clients.as_str()).collect();
    let (bootstrap, last) = (bootstrap.join(","), &members[members.len() - 1]);
    let (pid, again) = (last.pid, again(&last.properties));
    let _ = write!(
        text,
        "\nTry:\n  \
         ottla topic create t -p 6 -b {bootstrap}\n  \
         ottla topic describe t -b {bootstrap}\n  \
         kill -9 {pid}    # others lead within two seconds what it led\n  \
         {again}    # and it comes back\n\
         Ctrl-C stops them all.\n",
    );
    text
}
