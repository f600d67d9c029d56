//! A headless Chromium that a test drives as a person would, by chromedriver's WebDriver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{LATER, SOON, eventually};

/// Programs of Debian's packages.
const DRIVER: &str = "/usr/bin/chromedriver";
const CHROMIUM: &str = "/usr/bin/chromium";
const ARGUMENTS: [&str; 9] = [
    "--headless",
    // As root there is no sandbox.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// WebDriver's name of an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window. [`Browser::close`] ends it; dropping it ends the driver, and that the browser.
#[derive(Debug)]
pub struct Browser {
    _driver: Child,
    profile: PathBuf,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one with its profile in a folder of its own.
    ///
    /// # Errors
    /// Where Chromium or its driver is not installed, or does not start.
    pub async fn start(folder: &Path) -> Result<Self> {
        let profile = folder.join("browser");
        fs::create_dir_all(&profile)?;
        let mut command = Command::new(DRIVER);
        command.arg("--port=0").env("HOME", &profile).env("XDG_CONFIG_HOME", &profile);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let started = command.spawn();
        let mut driver =
            started.with_context(|| format!("{DRIVER} cannot be started: `cargo xtask install`"))?;
        let mut lines = BufReader::new(driver.stdout.take().context("no output of the driver")?).lines();
        let says_port = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, port)) = line.rsplit_once("successfully on port ") {
                    return Ok::<u16, anyhow::Error>(port.trim_end_matches('.').parse()?);
                }
            }
            bail!("the driver ended")
        };
        let port = timeout(SOON, says_port).await.context("the driver does not start")??;
        let user = format!("--user-data-dir={}", profile.display());
        let mut browser = Self { _driver: driver, profile, port, session: String::new() };
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([user.as_str()]).collect();
        let options = json!({ "binary": CHROMIUM, "args": arguments });
        let capabilities = json!({ "alwaysMatch": { "goog:chromeOptions": options } });
        let session = browser.command("POST", "/session", &json!({ "capabilities": capabilities })).await?;
        session
            .get("sessionId")
            .and_then(Value::as_str)
            .context("no session")?
            .clone_into(&mut browser.session);
        Ok(browser)
    }

    /// Opens a page.
    ///
    /// # Errors
    /// Where it cannot be had.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.of_session("POST", "/url", &json!({ "url": url })).await?;
        Ok(())
    }

    /// The text that the page shows.
    ///
    /// # Errors
    /// Where there is no page.
    pub async fn text(&self) -> Result<String> {
        let body = self.element("css selector", "body").await?;
        let text = self.of_session("GET", &format!("/element/{body}/text"), &Value::Null).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Waits until the page shows a text.
    ///
    /// # Errors
    /// Where it does not, in time.
    pub async fn shows(&self, text: &str) -> Result<()> {
        eventually(&format!("the page shows `{text}`"), SOON, async || {
            // Between two pages there is none.
            Ok(self.text().await.is_ok_and(|shown| shown.contains(text)))
        })
        .await
    }

    /// Clicks on the first element that an XPath finds.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn click(&self, xpath: &str) -> Result<()> {
        let element = self.element("xpath", xpath).await?;
        self.of_session("POST", &format!("/element/{element}/click"), &json!({})).await?;
        Ok(())
    }

    /// Types into the first element that an XPath finds.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn fill(&self, xpath: &str, text: &str) -> Result<()> {
        let element = self.element("xpath", xpath).await?;
        self.of_session("POST", &format!("/element/{element}/value"), &json!({ "text": text })).await?;
        Ok(())
    }

    /// The answer of a script that is run from outside of the page.
    ///
    /// # Errors
    /// The script's own.
    pub async fn run(&self, script: &str) -> Result<Value> {
        self.of_session("POST", "/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Makes the window so large, in CSS pixels, and writes what it shows of a page as a PNG.
    ///
    /// # Errors
    /// The file system's own.
    pub async fn picture(&self, (width, height): (u32, u32), file: &Path) -> Result<()> {
        self.of_session("POST", "/window/rect", &json!({ "width": width, "height": height })).await?;
        let picture = self.of_session("GET", "/screenshot", &Value::Null).await?;
        Ok(fs::write(file, BASE64.decode(picture.as_str().context("no picture")?)?)?)
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where the driver does not answer.
    pub async fn close(self) -> Result<()> {
        self.of_session("DELETE", "", &Value::Null).await?;
        // Its processes write until they have ended.
        eventually("the browser's files are gone", SOON, async || {
            Ok(fs::remove_dir_all(&self.profile).is_ok())
        })
        .await
    }

    async fn element(&self, using: &str, value: &str) -> Result<String> {
        let found = self.of_session("POST", "/element", &json!({ "using": using, "value": value })).await;
        let found = found.with_context(|| format!("no element {value}"))?;
        Ok(found.get(ELEMENT).and_then(Value::as_str).context("no element")?.to_owned())
    }

    async fn of_session(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.command(method, &format!("/session/{}{path}", self.session), body).await
    }

    /// Asks the driver; gives the value of its answer.
    async fn command(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (port, length) = (self.port, body.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        let asked = async {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(request.as_bytes()).await?;
            answer(stream).await
        };
        let answer = timeout(LATER, asked).await.with_context(|| format!("no answer to {path}"))??;
        let answer: Value = serde_json::from_slice(&answer)?;
        let value = answer.get("value").cloned().unwrap_or_default();
        ensure!(value.get("error").is_none(), "{method} {path}: {value}");
        Ok(value)
    }
}

/// The body of an answer, which states its length; the driver may keep the connection.
async fn answer(stream: TcpStream) -> Result<Vec<u8>> {
    let mut stream = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the driver's answer has no end");
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(stated) = line.strip_prefix("content-length:") {
            length = stated.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}
