//! A throw-away PostgreSQL cluster: one for each test binary, with a database for each test.

use commerce_postgres::PostgresStore;
use postgres::{Client, NoTls};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The longest wait for anything, on a slow and busy machine; `WAIT` is the same in seconds, for
/// `pg_ctl`.
const TIMEOUT: Duration = Duration::from_secs(180);
const WAIT: &str = "180";

/// A cluster in a folder of its own. It is stopped and removed when the process that started it
/// ends, even by a signal: a shell waits for that at the other end of a pipe.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    programs: PathBuf,
    databases: AtomicUsize,
    /// A database with an empty store.
    template: OnceLock<String>,
    _keeper: Child,
    _alive: ChildStdin,
}

/// Returns the cluster that the tests of this binary share. Its hundreds of databases are too short-lived to vacuum.
pub fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start_with(|_| "autovacuum = off".to_owned()))
}

/// Returns the folder with the server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| {
        panic!("these tests need a PostgreSQL server: apt-get install postgresql-15")
    })
}

impl Cluster {
    pub fn start() -> Self {
        Self::start_with(|_| String::new())
    }

    /// Starts a cluster with further settings. `prepare` may add files to the data folder, and
    /// returns the settings.
    pub fn start_with(prepare: impl FnOnce(&Path) -> String) -> Self {
        Self::create(|programs, data| {
            let mut initdb = as_server(&programs.join("initdb"));
            initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"]);
            succeed(initdb.arg(data));
            prepare(data)
        })
    }

    /// Starts a synchronous standby of this cluster: from now on every commit waits for it.
    pub fn standby(&self) -> Self {
        let standby = Self::create(|programs, data| {
            let index = format!("host=127.0.0.1 port={} user=postgres", self.port);
            let mut copy = as_server(&programs.join("pg_basebackup"));
            copy.args(["-R", "-N", "-c", "fast", "-X", "stream", "-d", &index, "-D"]);
            succeed(copy.arg(data));
            String::new()
        });
        let mut admin = self.admin("postgres");
        admin.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").unwrap();
        wait_until("the standby follows", || {
            let sql = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            admin.query_one(sql, &[]).unwrap().get::<_, i64>(0) == 1
        });
        standby
    }

    /// Starts a cluster. `make` creates the data folder and returns further settings.
    fn create(make: impl FnOnce(&Path, &Path) -> String) -> Self {
        let programs = programs();
        let folder = tempfile::Builder::new().prefix("commerce-pg-").tempdir_in("/tmp").unwrap();
        let folder = folder.keep();
        give_to_server(&folder);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let data = folder.join("data");
        let more = make(&programs, &data);
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n\
             max_connections = 200\nshared_buffers = 64MB\nmax_prepared_transactions = 20\n{more}\n",
            folder.display()
        );
        let file = data.join("postgresql.conf");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text + &settings).unwrap();
        let (keeper, alive) = keep(&programs, &folder);
        let cluster = Self {
            folder,
            port,
            programs,
            databases: AtomicUsize::new(0),
            template: OnceLock::new(),
            _keeper: keeper,
            _alive: alive,
        };
        cluster.begin();
        cluster
    }

    /// Starts the server, for the first time or after [`Cluster::stop`].
    pub fn begin(&self) {
        self.control(&["start", "-w", "-t", WAIT, "-l"], &["log"]);
    }

    pub fn stop(&self) {
        self.control(&["stop", "-w", "-t", WAIT, "-m", "fast"], &[]);
    }

    /// Stops the server without a shutdown, like a machine that loses power.
    pub fn kill(&self) {
        self.control(&["stop", "-w", "-t", WAIT, "-m", "immediate"], &[]);
    }

    /// Stops all processes of the server with SIGSTOP, while the kernel still accepts connections.
    /// They never continue.
    pub fn freeze(&self) -> Frozen {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap();
        let first: u32 = file.lines().next().unwrap().parse().unwrap();
        signal("STOP", &[first]);
        let children = format!("/proc/{first}/task/{first}/children");
        let children = fs::read_to_string(children).unwrap();
        let children = children.split_whitespace().map(|child| child.parse().unwrap());
        let all: Vec<u32> = children.chain([first]).collect();
        signal("STOP", &all);
        Frozen(all)
    }

    /// Makes a standby a primary.
    pub fn promote(&self) {
        self.control(&["promote", "-w", "-t", WAIT], &[]);
    }

    /// Creates an empty database and returns its URL.
    pub fn database(&self) -> String {
        self.url(&self.create_database("template1"))
    }

    /// Creates a database with an empty store and returns its URL. Copying a store is faster than migrating an empty
    /// database, but all copies have the same identity.
    pub fn store(&self) -> String {
        let template = self.template.get_or_init(|| {
            let name = self.create_database("template1");
            drop(PostgresStore::open(&self.url(&name)).unwrap());
            name
        });
        self.url(&self.create_database(template))
    }

    fn create_database(&self, template: &str) -> String {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        let name = format!("shop_{}_{number}", std::process::id());
        let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
        self.admin("postgres").batch_execute(&sql).unwrap();
        name
    }

    /// Returns the URL of a database, over the Unix socket.
    pub fn url(&self, database: &str) -> String {
        let folder = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{folder}:{}/{database}", self.port)
    }

    /// Opens a connection beside the store; waits for a server that is starting.
    pub fn admin(&self, database: &str) -> Client {
        let begin = Instant::now();
        loop {
            match Client::connect(&self.url(database), NoTls) {
                Ok(client) => return client,
                Err(error) => {
                    assert!(begin.elapsed() < TIMEOUT, "{error}");
                    sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// Returns the path of a program that comes with the server.
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Returns the folder of the cluster and its socket.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Restarts the server as after a crash: without waiting for sessions and without a shutdown
    /// checkpoint.
    pub fn restart(&self) {
        self.control(&["restart", "-w", "-t", WAIT, "-m", "immediate", "-l"], &["log"]);
    }

    /// Runs `pg_ctl` with these words, followed by files of the folder.
    fn control(&self, words: &[&str], files: &[&str]) {
        let mut control = as_server(&self.programs.join("pg_ctl"));
        control.arg("-D").arg(self.folder.join("data")).args(words);
        control.args(files.iter().map(|file| self.folder.join(file)));
        // The server keeps inherited descriptors open: a pipe would never end.
        let status = control.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let done = status.status().unwrap().success();
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        assert!(done, "pg_ctl {words:?}: {log}");
    }
}

/// The stopped processes of a server; they are killed on drop.
pub struct Frozen(Vec<u32>);

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("KILL", &self.0);
    }
}

fn signal(name: &str, processes: &[u32]) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).args(processes.iter().map(ToString::to_string));
    // A process that has ended meanwhile is not an error.
    kill.stderr(Stdio::null()).status().unwrap();
}

/// Waits until the condition holds.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < TIMEOUT, "timed out: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// Lets the server's user read a file or write to a folder of the test.
pub fn give_to_server(path: &Path) {
    if is_root() {
        let (user, group) = postgres_user();
        chown(path, Some(user), Some(group)).unwrap();
    }
}

fn succeed(command: &mut Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let line = line.unwrap_or_else(|| panic!("there is no user postgres for the server"));
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

/// Prepares a program of the server, which refuses to run as root.
fn as_server(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// Starts the shell that stops the cluster and removes its folder once this process has ended.
fn keep(programs: &Path, folder: &Path) -> (Child, ChildStdin) {
    let script =
        r#"trap '' INT TERM; cat > /dev/null; "$0" -D "$1/data" stop -m immediate; rm -rf "$1""#;
    let mut shell = as_server(Path::new("/bin/sh"));
    shell.args(["-c", script]).arg(programs.join("pg_ctl")).arg(folder);
    shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    let alive = child.stdin.take().unwrap();
    (child, alive)
}
