//! Reads a URL of Postgres as libpq does, several servers included. What the client here cannot do is refused by its
//! name, since a parameter that is skipped (a certificate that is not asked for) would be missed too late.

use std::env;
use std::path::PathBuf;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::secret::Secret;
use super::source;

/// Address of a database, and the name and password under which we are there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PostgresUrl {
    /// A URL for each server, in the order in which they are tried.
    pub servers: Vec<Secret>,
    /// The file that holds the URL, where one does.
    pub file: Option<PathBuf>,
}

impl PostgresUrl {
    /// Reads the text of a URL.
    ///
    /// # Errors
    /// Says what is wrong, without a secret.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = Parts::split(text)?;
        let servers = parts.servers()?;
        Ok(Self { servers: servers.iter().map(|server| parts.url_of(server)).collect(), file: None })
    }

    /// Reads the URL that a file holds.
    pub(super) fn of_file(file: &str) -> Result<Self, String> {
        let url = Self::parse(&source::read_secret(file)?)?;
        Ok(Self { file: Some(PathBuf::from(file)), ..url })
    }

    /// The URL that its file holds now; `None` where no file holds it.
    ///
    /// # Errors
    /// Says why there is none in the file.
    pub fn read_again(&self) -> Result<Option<Self>, String> {
        self.file.as_ref().map(|file| Self::of_file(&file.to_string_lossy())).transpose()
    }

    /// The file that `sslrootcert`, `sslcert` or `sslkey` names, in the URL or else in libpq's variable, such as
    /// `PGSSLROOTCERT`, which may also hold the certificate itself.
    #[expect(
        clippy::disallowed_methods,
        reason = "the client goes by libpq's variables where a URL says nothing"
    )]
    pub(crate) fn tls_file(&self, param: &str) -> Option<String> {
        self.shared_param(param).or_else(|| env::var(format!("PG{}", param.to_uppercase())).ok())
    }

    /// The value of a parameter that is the same for all servers.
    fn shared_param(&self, param: &str) -> Option<String> {
        let (_, params) = self.servers.first()?.expose().split_once('?')?;
        let mut params = params.split('&').filter_map(|param| param.split_once('='));
        let (_, value) = params.find(|(name, _)| *name == param)?;
        Some(percent_decode_str(value).decode_utf8().ok()?.into_owned())
    }
}

/// Parameters that are passed on. `host`, `port` and `target_session_attrs` are read here.
const PASSED: [&str; 9] = [
    "application_name",
    "dbname",
    "options",
    "password",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// Values that ask for nothing but what happens anyhow.
const IDLE: [(&str, &[&str]); 9] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["UTF8", "utf8", "auto"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("sslcompression", &["0"]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
    // The first server that takes writes is used in any case.
    ("target_session_attrs", &["any", "read-write", "primary"]),
    ("fallback_application_name", &[""]),
];

/// Parameters of libpq that are refused, with what to do instead.
const REFUSED: [(&str, &str); 8] = [
    ("hostaddr", "write the address as the host"),
    ("connect_timeout", "remove it: a connection is waited for 5 seconds"),
    ("keepalives", KEEPALIVE),
    ("keepalives_idle", KEEPALIVE),
    ("keepalives_interval", KEEPALIVE),
    ("keepalives_count", KEEPALIVE),
    ("tcp_user_timeout", KEEPALIVE),
    ("service", "write out what the service file says"),
];
const KEEPALIVE: &str =
    "remove it: every statement has a limit, and what does not answer within it is dropped";

const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];

/// A URL taken apart, without its percent signs.
#[derive(Debug)]
struct Parts {
    hosts: Vec<String>,
    ports: Vec<String>,
    params: Vec<(&'static str, String)>,
}

impl Parts {
    fn split(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be a URL such as postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.ok_or_else(|| FORM.to_owned())?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let mut parts = Self { hosts: Vec::new(), ports: Vec::new(), params: Vec::new() };
        for host in hosts.split(',') {
            let (host, port) = host_and_port(host)?;
            parts.hosts.push(decoded(host)?);
            parts.ports.push(port.to_owned());
        }
        for (name, value) in [("user", user), ("password", password), ("dbname", database)] {
            if !value.is_empty() {
                parts.params.push((name, decoded(value)?));
            }
        }
        for param in query.split('&').filter(|param| !param.is_empty()) {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            parts.take(&decoded(name)?, decoded(value)?)?;
        }
        Ok(parts)
    }

    /// Takes a parameter; a later one of the same name wins.
    fn take(&mut self, name: &str, value: String) -> Result<(), String> {
        let list = |value: &str| value.split(',').map(str::to_owned).collect();
        match name {
            "host" => self.hosts = list(&value),
            "port" => self.ports = list(&value),
            _ => {
                let Some(passed) = PASSED.into_iter().find(|passed| *passed == name) else {
                    return refuse_unless_idle(name, &value);
                };
                refuse_value(passed, &value)?;
                self.params.retain(|(known, _)| *known != passed);
                self.params.push((passed, value));
            }
        }
        Ok(())
    }

    /// Each server's host and port, empty where Postgres' own default holds.
    fn servers(&self) -> Result<Vec<(&str, &str)>, String> {
        let (hosts, ports) = (self.hosts.len(), self.ports.len());
        if ports != 1 && ports != hosts {
            return Err(format!(
                "names {hosts} hosts and {ports} ports; give one port, or one for each host"
            ));
        }
        for port in self.ports.iter().filter(|port| !port.is_empty()) {
            port.parse::<u16>()
                .map_err(|_| format!("has the port {port:?}, which is not a number up to 65535"))?;
        }
        let ports = self.ports.iter().cycle();
        Ok(self.hosts.iter().zip(ports).map(|(host, port)| (host.as_str(), port.as_str())).collect())
    }

    /// The URL of one server, all in parameters: nothing in it can be taken for something else.
    fn url_of(&self, (host, port): &(&str, &str)) -> Secret {
        let own = [("host", *host), ("port", *port)].into_iter().filter(|(_, value)| !value.is_empty());
        let shared = self.params.iter().map(|(name, value)| (*name, value.as_str()));
        let encoded = own
            .chain(shared)
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
        Secret::new(format!("postgres:///?{}", encoded.collect::<Vec<_>>().join("&")))
    }
}

/// Splits `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Result<(&str, &str), String> {
    if let Some(address) = text.strip_prefix('[') {
        let (address, port) = address.split_once(']').ok_or("has a `[` without its `]`")?;
        return Ok((address, port.strip_prefix(':').unwrap_or(port)));
    }
    Ok(text.split_once(':').unwrap_or((text, "")))
}

fn decoded(text: &str) -> Result<String, String> {
    // A fragment, which no URL of Postgres has: it would cut a password in two.
    if text.contains('#') {
        return Err("has a `#` in it: write %23".to_owned());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| "has percent signs that are not UTF-8".to_owned())?.into_owned())
}

fn refuse_value(name: &str, value: &str) -> Result<(), String> {
    match name {
        "sslmode" if !SSL_MODES.contains(&value) => {
            Err(format!("has sslmode={value}: mailroom knows {}", SSL_MODES.join(", ")))
        }
        "sslrootcert" if value == "system" => {
            Err("has sslrootcert=system: remove it; with sslmode=verify-full the \
             roots that browsers trust are used"
                .to_owned())
        }
        _ => Ok(()),
    }
}

fn refuse_unless_idle(name: &str, value: &str) -> Result<(), String> {
    if let Some((_, idle)) = IDLE.iter().find(|(idle, _)| *idle == name) {
        if idle.contains(&value) {
            return Ok(());
        }
        let idle = idle.join(" or ");
        return Err(format!(
            "has {name}={value}, which mailroom's client cannot do: make it {idle}, or remove it"
        ));
    }
    match REFUSED.iter().find(|(refused, _)| *refused == name) {
        Some((_, remedy)) => Err(format!("has the parameter {name}: {remedy}")),
        // Its value may be a secret under a mistyped name.
        None => Err(format!("has the parameter {name:?}, which mailroom does not know: remove it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(text: &str) -> Vec<String> {
        let url = PostgresUrl::parse(text).unwrap();
        url.servers.iter().map(|server| server.expose().replace("postgres:///?", "")).collect()
    }

    #[test]
    fn one_server_is_read_in_each_form_that_libpq_takes() {
        for (text, read) in [
            ("postgres://u:p@h:1/d", "host=h&port=1&user=u&password=p&dbname=d"),
            ("postgresql://u@h/d", "host=h&user=u&dbname=d"),
            ("postgres://", ""),
            ("postgres://u:p%40%2F%23@h", "host=h&user=u&password=p%40%2F%23"),
            ("postgres://[::1]:5/d", "host=%3A%3A1&port=5&dbname=d"),
            ("postgres://%2Frun%2Fpg/d", "host=%2Frun%2Fpg&dbname=d"),
            ("postgres:///d?host=/run/pg&port=6", "host=%2Frun%2Fpg&port=6&dbname=d"),
            ("postgres://h/a?dbname=b&user=c+d", "host=h&dbname=b&user=c%2Bd"),
            ("postgres://h/d?options=-c%20work_mem%3D1MB", "host=h&dbname=d&options=%2Dc%20work%5Fmem%3D1MB"),
            ("postgres://h/d?sslmode=verify-full&sslsni=1", "host=h&dbname=d&sslmode=verify%2Dfull"),
        ] {
            assert_eq!(servers(text), [read], "{text}");
        }
    }

    #[test]
    fn several_servers_have_a_url_each() {
        assert_eq!(
            servers("postgres://u@a:1,b:2/d"),
            ["host=a&port=1&user=u&dbname=d", "host=b&port=2&user=u&dbname=d"]
        );
        assert_eq!(servers("postgres:///?host=a,b&port=7"), ["host=a&port=7", "host=b&port=7"]);
        assert_eq!(servers("postgres://a,b?target_session_attrs=read-write"), ["host=a", "host=b"]);
    }

    #[test]
    fn what_the_client_cannot_do_is_refused_by_name() {
        for (text, named) in [
            ("mysql://h", "postgres://USER"),
            ("postgres://h:x/d", "port"),
            ("postgres://h:65536/d", "65536"),
            ("postgres://a,b,c?port=1,2", "3 hosts and 2 ports"),
            ("postgres://[::1/d", "["),
            ("postgres://u:pa#ss@h/d", "%23"),
            ("postgres://h/d?sslmode=allow", "sslmode"),
            ("postgres://h/d?sslrootcert=system", "sslrootcert"),
            ("postgres://h/d?channel_binding=require", "channel_binding"),
            ("postgres://a,b/d?target_session_attrs=standby", "target_session_attrs"),
            ("postgres://h/d?hostaddr=10.0.0.1", "hostaddr"),
            ("postgres://h/d?connect_timeout=3", "connect_timeout"),
            ("postgres://h/d?tcp_user_timeout=3", "tcp_user_timeout"),
            ("postgres://h/d?sslmod=require", "sslmod"),
            ("postgres://h/d?statement-cache-capacity=0", "statement-cache-capacity"),
        ] {
            let refused = PostgresUrl::parse(text).unwrap_err();
            assert!(refused.contains(named), "{text}: {refused}");
        }
    }

    #[test]
    fn a_refusal_shows_no_secret() {
        let refused = PostgresUrl::parse("postgres://u:hunter2@h/d?pasword=hunter2").unwrap_err();
        assert!(refused.contains("pasword") && !refused.contains("hunter2"), "{refused}");
    }

    #[test]
    fn files_of_tls_are_given_as_the_url_names_them() {
        let url =
            PostgresUrl::parse("postgres://u@a,b/d?sslmode=require&sslrootcert=/etc/my%20ca.pem").unwrap();
        assert_eq!(url.tls_file("sslrootcert").as_deref(), Some("/etc/my ca.pem"));
        assert_eq!(url.tls_file("sslkey"), None);
    }
}
