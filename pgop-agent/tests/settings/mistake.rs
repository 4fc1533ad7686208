//! Every kind of mistake.

use std::fs;

use crate::ground::{Gaps, Ground, Row, Told};
use crate::machine::wait_until;

struct Mistakes {
    ground: Ground,
    rows: Vec<Row>,
}

/// All of them: what the table has, the gaps, and the major version of `PostgreSQL`.
pub fn all() -> (Vec<Row>, Gaps, String) {
    let mut mistakes = Mistakes {
        ground: Ground::primary(),
        rows: Vec::new(),
    };
    mistakes.of_a_line();
    mistakes.of_the_machine();
    mistakes.of_more_than_a_line();
    mistakes.beside_what_is_right();
    mistakes.read_only();
    mistakes.in_vain();
    mistakes.of_a_library();
    mistakes.known_at_a_start();
    mistakes.alter_system();
    mistakes.alter_system_reset();
    mistakes.a_broken_file();
    let gaps = mistakes.on_a_replica();
    let major = mistakes.major().to_string();
    let mut all = mistakes.ground.gaps;
    all.add(gaps);
    (mistakes.rows, all, major)
}

impl Mistakes {
    fn major(&self) -> u32 {
        let version: u32 = self.ground.pod.value("server_version_num").parse().unwrap();
        version / 10_000
    }

    fn tell(&mut self, title: &str, lines: &[&str], told: Told) {
        self.rows.push(Row {
            title: title.to_owned(),
            right: String::new(),
            wrong: lines.join("\n"),
            restarts: false,
            told,
        });
    }

    /// Lines of which each is wrong, and what is told of each.
    fn refused(&mut self, title: &str, lines: &[&str], told: &[&str]) {
        let of_all = self.ground.reload(title, |ground| {
            let first = ground.pod.try_out(lines);
            let places = (first..)
                .take(lines.len())
                .map(|line| format!("(postgresql.conf line {line})"));
            let places: Vec<String> = places.collect();
            let named: Vec<&str> = told.iter().copied().chain(places.iter().map(String::as_str)).collect();
            ground.wait_until_refused(&named)
        });
        assert_eq!(of_all.reason, "Refused", "{of_all:?}");
        self.ground.restart_with_mistake(title, |ground| {
            ground.wait_until_refused(told);
        });
        self.ground.reload(title, |ground| {
            ground.pod.take_back();
            ground.pod.wait_until_in_force();
        });
        self.tell(title, lines, of_all);
    }

    fn of_a_line(&mut self) {
        self.refused(
            "an unknown name",
            &["log_diconnections = on"],
            &["\"log_diconnections\""],
        );
        self.refused("a bad value", &["work_mem = banana"], &["\"work_mem\": \"banana\""]);
        self.refused("no value at all", &["work_mem ="], &["work_mem: syntax error"]);
    }

    fn of_the_machine(&mut self) {
        self.refused(
            "a missing library",
            &["shared_preload_libraries = 'nope, auto_explain, nada'"],
            &["shared_preload_libraries: could not access file \"nope\"", "\"nada\""],
        );
        self.refused(
            "a missing library of all sessions",
            &["session_preload_libraries = 'nope'"],
            &["session_preload_libraries: could not access file \"nope\""],
        );
        self.refused(
            "the same, of those who are no superusers",
            &["local_preload_libraries = 'nope'"],
            &["local_preload_libraries: could not access file \"$libdir/plugins/nope\""],
        );
        self.refused(
            "a library that does not load",
            &["shared_preload_libraries = '/etc/passwd'"],
            &["shared_preload_libraries: could not load library \"/etc/passwd\""],
        );
        self.refused(
            "too much memory",
            &["shared_buffers = 8000GB"],
            &["shared_buffers = 8000GB"],
        );
        self.refused(
            "too much memory by two settings",
            &["max_connections = 30000", "max_locks_per_transaction = 100000"],
            &["max_connections = 30000", "max_locks_per_transaction = 100000"],
        );
        self.refused(
            "huge pages on a machine without",
            &["huge_pages = on"],
            &["huge_pages = on needs"],
        );
    }

    fn of_more_than_a_line(&mut self) {
        self.refused(
            "a bad locale",
            &["lc_messages = 'xx_XX'"],
            &["\"lc_messages\": \"xx_XX\""],
        );
        self.refused(
            "a bad time zone",
            &["timezone = 'Mars/Olympus'"],
            &["\"TimeZone\": \"Mars/Olympus\""],
        );
        self.refused(
            "encryption without a certificate",
            &["ssl = on"],
            &["ssl: could not load server certificate file"],
        );
        self.refused(
            "too few connections for those that are reserved",
            &["superuser_reserved_connections = 60"],
            &["superuser_reserved_connections (60) must be less than max_connections"],
        );
        self.refused(
            "a value that may hold a password",
            &["archive_command = 'curl -u me:hunter2"],
            &["PostgreSQL does not take archive_command"],
        );
        assert!(!self.rows.last().unwrap().told.message.contains("hunter2"));
        self.refused(
            "several at once",
            &[
                "log_diconnections = on",
                "work_mem = banana",
                "max_connections = 0",
                "jit off off",
                "lc_messages = 'xx_XX'",
                "shared_preload_libraries = 'nope'",
                "huge_pages = on",
            ],
            &[
                "\"log_diconnections\"",
                "\"work_mem\"",
                "\"max_connections\"",
                "jit: syntax error",
                "\"lc_messages\"",
                "shared_preload_libraries: could not access file \"nope\"",
                "huge_pages = on needs",
            ],
        );
    }

    fn beside_what_is_right(&mut self) {
        const TITLE: &str = "a mistake beside right changes";
        let lines = ["work_mem = 7MB", "max_connections = 33", "jit = maybe"];
        let told = self.ground.reload(TITLE, |ground| {
            ground.pod.try_out(&lines);
            ground.wait_until_refused(&["\"jit\"", "held back by that: max_connections, work_mem"])
        });
        self.ground.restart_with_mistake(TITLE, |ground| {
            ground.wait_until_refused(&["held back by that: max_connections, work_mem"]);
        });
        assert_ne!(self.ground.pod.value("work_mem"), "7MB");
        self.tell(TITLE, &lines, told);
        self.ground.reload(TITLE, |ground| {
            ground.pod.try_out(&lines[..2]);
            ground.wait_until_waiting(&["max_connections"]);
        });
        assert_eq!(
            self.ground.pod.value("work_mem"),
            "7MB",
            "what needs no restart is in force"
        );
        self.ground.restart(TITLE, |ground| ground.pod.wait_until_in_force());
        assert_eq!(self.ground.pod.value("max_connections"), "33");
        self.ground.reload(TITLE, |ground| {
            ground.pod.take_back();
            ground.wait_until_waiting(&["max_connections"]);
        });
        self.ground.restart(TITLE, |ground| ground.pod.wait_until_in_force());
    }

    fn read_only(&mut self) {
        const TITLE: &str = "read-only transactions";
        let line = ["default_transaction_read_only = on"];
        let is_told = |told: &Told| told.message.contains("default_transaction_read_only");
        let told = self.ground.reload(TITLE, |ground| {
            ground.pod.try_out(&line);
            ground.pod.wait_until_told("it is told", is_told)
        });
        assert_eq!(told.holds, Some(true), "{told:?}");
        assert_eq!(self.ground.pod.value("transaction_read_only"), "on");
        // Roles are set again after a start, and whoever asks for it writes all the time.
        self.ground.restart(TITLE, |ground| {
            ground.pod.wait_until_told("it is told again", is_told);
            wait_until("roles are in force", || {
                ground.pod.status().is_some_and(|status| status["roles"] == true)
            });
        });
        self.ground.reload(TITLE, |ground| {
            ground.pod.take_back();
            ground.pod.wait_until_told("it is so no more", |told| !is_told(told));
        });
        self.tell(TITLE, &line, told);
    }

    fn in_vain(&mut self) {
        const TITLE: &str = "settings that are pgop's";
        let lines = [
            "listen_addresses = '203.0.113.7'",
            "port = 6000",
            "data_directory = '/nope'",
        ];
        let named = ["listen_addresses", "port", "data_directory"];
        let told = self.ground.reload(TITLE, |ground| {
            ground.pod.try_out(&lines);
            ground.wait_until_refused(&named)
        });
        assert_eq!(told.reason, "InVain", "{told:?}");
        self.ground.restart_with_mistake(TITLE, |ground| {
            ground.wait_until_refused(&named);
        });
        assert_eq!(self.ground.pod.value("listen_addresses"), "*");
        self.ground.reload(TITLE, |ground| {
            ground.pod.take_back();
            ground.pod.wait_until_in_force();
        });
        self.tell(TITLE, &lines, told);
    }

    /// Nobody but the library knows whether it is right.
    fn of_a_library(&mut self) {
        const TITLE: &str = "a bad value of a library's own setting";
        self.ground.reload(TITLE, |ground| {
            ground.pod.set("shared_preload_libraries", "'pg_stat_statements'");
            ground.wait_until_waiting(&["shared_preload_libraries"]);
        });
        self.ground.restart(TITLE, |ground| ground.pod.wait_until_in_force());
        let line = ["pg_stat_statements.max = banana"];
        let told = self.ground.reload(TITLE, |ground| {
            let place = format!("(postgresql.conf line {})", ground.pod.try_out(&line));
            ground.wait_until_refused(&["pg_stat_statements.max", &place])
        });
        self.ground.restart_with_mistake(TITLE, |ground| {
            ground.wait_until_refused(&["pg_stat_statements.max"]);
        });
        self.ground.reload(TITLE, |ground| {
            ground.pod.take_back();
            ground.pod.wait_until_in_force();
        });
        self.tell(TITLE, &line, told);
    }

    fn known_at_a_start(&mut self) {
        const TITLE: &str = "what only a start can tell: fewer slots than there are";
        for slot in ["one", "two", "three"] {
            self.ground
                .pod
                .sql(&format!("select pg_create_physical_replication_slot('{slot}')"));
        }
        let line = ["max_replication_slots = 2"];
        self.ground.reload(TITLE, |ground| {
            ground.pod.try_out(&line);
            ground.wait_until_waiting(&["max_replication_slots"]);
        });
        let told = self.ground.restart_in_vain(TITLE, 2, |ground| {
            ground.wait_until_refused(&["too many replication slots", "max_replication_slots"])
        });
        assert_eq!(told.reason, "Refused", "{told:?}");
        self.ground.reload(TITLE, |ground| {
            ground.pod.take_back();
            ground.pod.wait_until_in_force();
        });
        self.tell(TITLE, &line, told);
    }

    fn alter_system(&mut self) {
        const TITLE: &str = "ALTER SYSTEM, with something that the server does not start with, beside a right change";
        let statement = "alter system set shared_preload_libraries = 'nope'";
        if self.major() < 17 {
            self.ground.pod.sql(statement);
        } else {
            // Only a copy of an older one's data has it.
            let file = self.ground.pod.file("data/postgresql.auto.conf");
            fs::write(file, "shared_preload_libraries = 'nope'\n").unwrap();
        }
        self.ground.reload(TITLE, |ground| {
            ground.pod.set("work_mem", "7MB");
            ground.wait_until_refused(&["ALTER SYSTEM has set shared_preload_libraries"]);
        });
        let told = self.ground.restart_with_mistake(TITLE, |ground| {
            ground.wait_until_refused(&[
                "ALTER SYSTEM",
                "shared_preload_libraries",
                "could not access file \"nope\"",
            ])
        });
        assert_eq!(
            self.ground.pod.value("work_mem"),
            "7MB",
            "the right change is not blamed"
        );
        self.ground.reload(TITLE, |ground| {
            fs::remove_file(ground.pod.file("postgresql.auto.conf.refused")).unwrap();
            ground.pod.wait_until_in_force();
        });
        self.tell(TITLE, &[statement], told);
    }

    /// What somebody has taken back, and had the server read, leaves nothing behind but what waits for a start.
    fn alter_system_reset(&mut self) {
        const TITLE: &str = "ALTER SYSTEM RESET, and a reload by hand";
        if self.major() >= 17 {
            return;
        }
        let before = self.ground.pod.value("max_connections");
        self.ground.pod.sql("alter system set max_connections = 31");
        self.ground.restart_with_mistake(TITLE, |ground| {
            ground.wait_until_refused(&["ALTER SYSTEM has set max_connections"]);
        });
        assert_eq!(self.ground.pod.value("max_connections"), "31");
        self.ground.reload(TITLE, |ground| {
            ground.pod.sql("alter system reset max_connections");
            ground.pod.sql("select pg_reload_conf()");
            ground.wait_until_waiting(&["max_connections"]);
        });
        self.ground.restart(TITLE, |ground| ground.pod.wait_until_in_force());
        assert_eq!(self.ground.pod.value("max_connections"), before);
    }

    fn a_broken_file(&mut self) {
        const TITLE: &str = "a line that is none in ALTER SYSTEM's file";
        let file = self.ground.pod.file("data/postgresql.auto.conf");
        let line = "what is this here";
        let told = self.ground.reload(TITLE, |ground| {
            fs::write(&file, format!("{line}\n")).unwrap();
            ground.pod.set("work_mem", "9MB");
            ground.wait_until_refused(&["syntax error (postgresql.auto.conf line 1)"])
        });
        assert_eq!(self.ground.pod.value("work_mem"), "7MB");
        // When somebody mends it, nobody has to be told.
        self.ground.reload(TITLE, |ground| {
            fs::write(&file, "").unwrap();
            ground.pod.wait_until_in_force();
        });
        assert_eq!(self.ground.pod.value("work_mem"), "9MB");
        self.tell(TITLE, &[line], told);
    }

    fn on_a_replica(&mut self) -> Gaps {
        const TITLE: &str = "a replica with less than its primary has";
        let mut replica = Ground::replica(&self.ground);
        let line = ["max_connections = 12"];
        replica.reload(TITLE, |replica| {
            replica.pod.try_out(&line);
            replica.wait_until_waiting(&["max_connections"]);
        });
        let is_told = |told: &Told| told.message.contains("max_connections = 30");
        let told = replica.restart_with_mistake(TITLE, |replica| replica.pod.wait_until_told("it is told", is_told));
        assert_eq!(replica.pod.value("max_connections"), "30");
        self.tell(TITLE, &line, told);
        // The others are refused as a primary's are.
        let wrong = ["max_connections = many", "shared_preload_libraries = 'nope'"];
        replica.reload(TITLE, |replica| {
            replica.pod.try_out(&wrong);
            replica.wait_until_refused(&["\"max_connections\": \"many\"", "shared_preload_libraries"]);
        });
        replica.restart_with_mistake(TITLE, |replica| {
            replica.wait_until_refused(&["\"max_connections\": \"many\"", "shared_preload_libraries"]);
        });
        replica.reload(TITLE, |replica| {
            replica.pod.take_back();
            replica
                .pod
                .wait_until_told("it follows what it was given", |told| told.reason != "Refused");
        });
        replica.restart(TITLE, |replica| {
            replica
                .pod
                .wait_until_told("all is in force", |told| told.message == "the server has read them")
        });
        replica.gaps
    }
}
