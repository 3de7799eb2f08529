//! Real database servers on loopback ports, each ending with its test.

use keyward_testkit::packages::{self, Package};
use keyward_testkit::process::{Process, free_port, run, wait_for};
use keyward_testkit::require;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A loaded machine needs a while to make a database.
const LATE: Duration = Duration::from_secs(120);

/// What the own user of each server here has as its password.
pub const PASSWORD: &str = "first-password";

fn finished(command: &mut Command) {
    let done = run(command, b"", LATE).unwrap();
    assert!(done.status.success(), "{command:?}: {}{}", text(&done.stdout), done.stderr);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// True when `wanted` is installed, or could be.
fn there(wanted: &[Package]) -> bool {
    require(packages::install(wanted))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Servers refuse to run as root.
fn as_user(user: &str, program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}"), "--clear-groups", "--"])
        .arg(program);
    command
}

fn folder_of(user: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        finished(Command::new("chown").arg(user).arg(folder.path()));
    }
    folder
}

fn listening(port: u16, process: &Process, address: &str) {
    let up = wait_for("the database", LATE, || TcpStream::connect((address, port)).ok());
    up.unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
}

/// PostgreSQL, with the user `postgres`.
pub struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    bin: PathBuf,
    address: String,
    port: u16,
}

impl Postgres {
    /// A new server; none where PostgreSQL is not there, which is said aloud.
    ///
    /// # Panics
    /// When it does not start; so do all others here.
    pub fn start() -> Option<Postgres> {
        Postgres::at("127.0.0.1", None)
    }

    /// The same at an address and port of the caller's choice.
    pub fn at(address: &str, port: Option<u16>) -> Option<Postgres> {
        if !there(packages::POSTGRESQL) {
            return None;
        }
        let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
            .filter(|bin| bin.join("postgres").exists())
            .collect();
        versions.sort();
        let bin = versions.pop().unwrap();
        let folder = folder_of("postgres");
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).unwrap();
        if is_root() {
            finished(Command::new("chown").arg("postgres").arg(&secret));
        }
        let data = folder.path().join("data");
        finished(
            as_user("postgres", &bin.join("initdb"))
                .current_dir(folder.path())
                .args([
                    "-A",
                    "scram-sha-256",
                    "-U",
                    "postgres",
                    "--no-sync",
                    "-E",
                    "UTF8",
                    "--locale=C",
                    "-D",
                ])
                .arg(&data)
                .arg(format!("--pwfile={}", secret.display())),
        );
        let port = port.unwrap_or_else(|| free_port().unwrap());
        let mut server = Postgres { process: None, folder, bin, address: address.to_owned(), port };
        server.resume();
        Some(server)
    }

    /// Starts it again after [`Postgres::stop`].
    pub fn resume(&mut self) {
        let folder = self.folder.path();
        let mut command = as_user("postgres", &self.bin.join("postgres"));
        command
            .current_dir(folder)
            .arg("-D")
            .arg(folder.join("data"))
            .args(["-p", &self.port.to_string(), "-c", "fsync=off", "-c", "max_connections=30"])
            .args(["-c", &format!("listen_addresses={}", self.address)])
            .args(["-c", &format!("unix_socket_directories={}", folder.display())]);
        let process = Process::spawn(&mut command, &folder.join("log")).unwrap();
        wait_for("PostgreSQL", LATE, || self.try_sql("postgres", PASSWORD, "SELECT 1").ok())
            .unwrap_or_else(|late| panic!("{late}: {}", process.output().unwrap()));
        self.process = Some(process);
    }

    /// Ends it at once.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(rustix::process::Signal::QUIT).unwrap();
            wait_for("PostgreSQL to end", LATE, || process.exited().unwrap()).unwrap();
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it logged.
    pub fn output(&self) -> String {
        self.process.as_ref().unwrap().output().unwrap()
    }

    /// How it is reached, as a configuration has it.
    pub fn url(&self) -> String {
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@{}:{}/postgres", self.address, self.port)
    }

    /// What `sql` yields for `user`: rows without decoration; or what psql says.
    pub fn try_sql(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command
            .env("PGPASSWORD", password)
            .env("PGCONNECT_TIMEOUT", "10")
            .args([
                "-X",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                &self.address,
                "-p",
                &self.port.to_string(),
            ])
            .args(["-U", user, "-d", "postgres", "-c", sql]);
        let done = run(&mut command, b"", LATE).map_err(|why| why.to_string())?;
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(done.stderr),
        }
    }

    /// What `sql` yields for its own user.
    pub fn sql(&self, sql: &str) -> String {
        self.try_sql("postgres", PASSWORD, sql).unwrap()
    }

    /// The users whose names begin as those that are made on demand do.
    pub fn made(&self) -> Vec<String> {
        self.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%' ORDER BY 1")
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// MariaDB, with the user `root`.
pub struct MariaDb {
    _process: Process,
    _folder: TempDir,
    /// Its port.
    pub port: u16,
}

impl MariaDb {
    /// A new server; none where MariaDB is not there, which is said aloud.
    pub fn start() -> Option<MariaDb> {
        if !there(packages::MARIADB) {
            return None;
        }
        let folder = folder_of("mysql");
        let data = folder.path().join("data");
        let user = if is_root() { "--user=mysql" } else { "--skip-name-resolve" };
        finished(
            Command::new("mariadb-install-db")
                .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", user])
                .arg(format!("--datadir={}", data.display())),
        );
        let start = folder.path().join("start.sql");
        let grant = format!(
            "CREATE USER 'keyward'@'%' IDENTIFIED BY '{PASSWORD}';\n\
             GRANT ALL PRIVILEGES ON *.* TO 'keyward'@'%' WITH GRANT OPTION;\nCREATE DATABASE app;\n\
             CREATE TABLE app.t (id INT);\n"
        );
        fs::write(&start, grant).unwrap();
        fs::set_permissions(&start, fs::Permissions::from_mode(0o644)).unwrap();
        let port = free_port().unwrap();
        let mut command = Command::new("mariadbd");
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--skip-name-resolve", user])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--socket={}", folder.path().join("s").display()))
            .arg(format!("--init-file={}", start.display()));
        let process = Process::spawn(&mut command, &folder.path().join("log")).unwrap();
        listening(port, &process, "127.0.0.1");
        let server = MariaDb { _process: process, _folder: folder, port };
        wait_for("MariaDB's users", LATE, || server.sql("keyward", PASSWORD, "SELECT 1").ok()).unwrap();
        Some(server)
    }

    /// What `sql` yields for `user`, or what the client says.
    pub fn sql(&self, user: &str, password: &str, sql: &str) -> Result<String, String> {
        let mut command = Command::new("mariadb");
        command.env("MYSQL_PWD", password).args([
            "--no-defaults",
            "-N",
            "-h",
            "127.0.0.1",
            "-P",
            &self.port.to_string(),
            "-u",
            user,
            "-e",
            sql,
        ]);
        let done = run(&mut command, b"", LATE).map_err(|why| why.to_string())?;
        match done.status.success() {
            true => Ok(text(&done.stdout)),
            false => Err(done.stderr),
        }
    }
}

/// Redis, with the user `keyward`.
pub struct Redis {
    _process: Process,
    _folder: TempDir,
    /// Its port.
    pub port: u16,
}

impl Redis {
    /// A new server; none where Redis is not there, which is said aloud.
    pub fn start() -> Option<Redis> {
        if !there(packages::REDIS) {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let config = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\nuser default off\nuser keyward on >{PASSWORD} ~* &* +@all\n",
            folder.path().display()
        );
        fs::write(folder.path().join("redis.conf"), config).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(folder.path().join("redis.conf"));
        let process = Process::spawn(&mut command, &folder.path().join("log")).unwrap();
        listening(port, &process, "127.0.0.1");
        Some(Redis { _process: process, _folder: folder, port })
    }

    /// What a command yields for `user`.
    pub fn command(&self, user: &str, password: &str, words: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command
            .env("REDISCLI_AUTH", password)
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "--user", user])
            .args(words);
        let done = run(&mut command, b"", LATE).unwrap();
        format!("{}{}", text(&done.stdout), done.stderr.trim())
    }
}
