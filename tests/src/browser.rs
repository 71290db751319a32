//! A real browser without a window, driven by `chromedriver` (W3C WebDriver).

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};

use crate::daemon::free_port;
use crate::outcome::wait_until;
use crate::web;
use crate::work::Work;

/// A window of a browser, which ends with the test.
#[derive(Debug)]
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    _home: Work,
}

impl Browser {
    /// Starts one with a window of `width` pixels; without scripts it runs none of a page.
    ///
    /// # Panics
    /// If it does not start.
    #[must_use]
    pub fn start(width: u32, runs_scripts: bool) -> Self {
        let home = Work::new();
        let address = format!("127.0.0.1:{}", free_port());
        let port = address.split(':').nth(1).unwrap();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("HOME", home.path()).stdin(Stdio::null());
        command.process_group(0);
        let driver = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("chromedriver");
        let mut browser = Self { driver, address, session: String::new(), _home: home };
        wait_until("chromedriver", || std::net::TcpStream::connect(&browser.address).is_ok());
        let window = format!("--window-size={width},1000");
        let words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", &window];
        let mut options = json!({ "args": words });
        if !runs_scripts {
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
        let session = browser.ask("POST", "/session", &wanted);
        browser.session = format!("/session/{}", session["sessionId"].as_str().expect("a session"));
        browser
    }

    /// The answer to a command, or the error.
    fn try_ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let headers = "Content-Type: application/json\r\n";
        let answer = web::request(&self.address, method, path, headers, &body.to_string());
        let mut value: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        if answer.status() == 200 { Ok(value["value"].take()) } else { Err(answer.body) }
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_ask(method, path, body).unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    #[track_caller]
    fn tell(&self, word: &str, body: &Value) -> Value {
        self.ask("POST", &format!("{}/{word}", self.session), body)
    }

    /// Opens a page.
    pub fn open(&self, url: &str) {
        self.tell("url", &json!({ "url": url }));
    }

    /// What the expression `script` comes to in the page; works without the page's own scripts too.
    #[must_use]
    pub fn value(&self, script: &str) -> Value {
        self.tell("execute/sync", &json!({ "script": format!("return {script}"), "args": [] }))
    }

    /// The text that a person sees in the first element that `selector` names.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({})?.innerText", json!(selector)));
        text.as_str().unwrap_or_else(|| panic!("nothing is {selector}")).to_owned()
    }

    /// Clicks on the first element that `selector` names, as soon as there is one.
    ///
    /// # Panics
    /// If there is none that can be clicked on.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        wait_until(selector, || self.act(selector, "click", &json!({})));
    }

    /// Types text into the first element that `selector` names, as soon as there is one.
    ///
    /// # Panics
    /// If there is none that takes text.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        wait_until(selector, || self.act(selector, "value", &json!({ "text": text })));
    }

    /// Whether something could be done with an element; a page that is made anew has others.
    fn act(&self, selector: &str, word: &str, body: &Value) -> bool {
        let path = format!("{}/element", self.session);
        let wanted = json!({ "using": "css selector", "value": selector });
        let Ok(found) = self.try_ask("POST", &path, &wanted) else { return false };
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        id.is_some_and(|id| self.try_ask("POST", &format!("{path}/{id}/{word}"), body).is_ok())
    }

    /// A picture of the window as a PNG file.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn picture(&self, file: &Path) {
        let encoded = self.ask("GET", &format!("{}/screenshot", self.session), &Value::Null);
        std::fs::write(file.with_extension("base64"), encoded.as_str().expect("a picture")).unwrap();
        let mut decode = Command::new("base64");
        decode.arg("-d").arg(file.with_extension("base64")).stdout(std::fs::File::create(file).unwrap());
        assert!(decode.status().unwrap().success());
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !std::thread::panicking() {
            self.ask("DELETE", &self.session, &Value::Null);
        }
        // Its browser is of its process group.
        let pid = Pid::from_child(&self.driver);
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.driver.wait();
    }
}
