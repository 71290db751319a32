//! The beginning of a connection: a proxy's header, TLS, greetings, and what the client asks for
//! (spec 09 §4.3, §4.4, §5).

use bstr::BString;
use rsync_proto::session::{
    self, EXIT_LINE, Greeting, ModuleRequest, NEWEST_PROTOCOL, ProxiedClient, REQUEST_LINE_LIMIT, Refusal,
    listing_line, proxy_header,
};

use super::{Greeted, Stop, Visit, environment, unmapped};
use crate::access::{HostLists, HostName, Resolver};
use crate::config::expand;
use crate::files::{MOTD_LIMIT, read_trusted, to_path};
use crate::log::About;

impl Visit<'_> {
    pub(super) async fn greet_and_ask(&mut self) -> Result<(Greeted, BString), Stop> {
        if self.config.globals.proxy_protocol {
            self.read_proxy_header().await?;
        }
        if self.is_secure {
            self.secure().await?;
        }
        let host = self.host_for(self.config.defaults.reverse_lookup).await;
        let room = self.shared.room(&self.config.globals).await;
        self.room = room.map_err(|error| Stop::Silent(error.to_string()))?;
        self.log.info(format!("connect from {}", self.client(&host)));
        let newest = self.shared.limits().protocol.unwrap_or(NEWEST_PROTOCOL);
        self.peer()?.send(&Greeting::ours(newest).render()).await?;
        if let Some(path) = &self.config.globals.motd_file {
            let path = to_path(path);
            let read = self.in_room(move || read_trusted(&path, MOTD_LIMIT)).await?;
            let mut text = read.unwrap_or_default();
            text.push(b'\n');
            self.peer()?.send(&text).await?;
        }
        let line = self.peer()?.decode(|input| session::line(input, REQUEST_LINE_LIMIT)).await?;
        let greeting = Greeting::parse(&line).map_err(|error| Refusal::Startup(error.daemon_text()))?;
        let agreed = greeting.agree(newest);
        loop {
            let line = self.peer()?.decode(|input| session::line(input, REQUEST_LINE_LIMIT)).await?;
            match ModuleRequest::parse(&line)? {
                ModuleRequest::EarlyInput(length) => {
                    self.early_input =
                        self.peer()?.decode(|input| input.take(length).map(<[u8]>::to_vec)).await?;
                }
                ModuleRequest::Listing => {
                    self.log.info(format!("module-list request from {}", self.client(&host)));
                    self.list_modules(agreed).await?;
                    return Err(Stop::Done);
                }
                ModuleRequest::Module(name) => return Ok((Greeted { greeting, agreed }, name)),
            }
        }
    }

    pub(super) async fn read_proxy_header(&mut self) -> Result<(), Stop> {
        let trusted = self.config.globals.proxy_protocol_hosts.as_ref().map(ToString::to_string);
        let trusted = match trusted.filter(|list| !list.trim().is_empty()) {
            Some(allow) => {
                let address = self.address;
                let judged = tokio::task::spawn_blocking(move || {
                    let lists = HostLists { allow: &allow, deny: "", forward_lookup: false };
                    lists.judge(HostName::Undetermined.text(), address, &Resolver)
                });
                let verdict = judged.await.map_err(|error| Stop::Silent(error.to_string()))?;
                verdict.notes.iter().for_each(|note| self.log.warning(note));
                verdict.is_let_in
            }
            None => false,
        };
        if !trusted {
            let client = self.client(&HostName::Undetermined);
            return Err(Stop::Silent(format!("proxy protocol rejected from untrusted peer {client}")));
        }
        if let ProxiedClient::Address(address) = self.peer()?.decode(proxy_header).await? {
            self.address = unmapped(address);
            let address = Some(self.address);
            self.log = self.log.about(About { connection: self.connection, address, ..About::default() });
        }
        Ok(())
    }

    pub(super) async fn secure(&mut self) -> Result<(), Stop> {
        let silent = |why: &dyn std::fmt::Display| Stop::Silent(why.to_string());
        let acceptor = self.shared.acceptor(self.config).map_err(|error| silent(&error))?;
        let Some(peer) = self.peer.take() else { return Ok(()) };
        let address = self.address;
        let secured = peer.secure(&acceptor).await;
        let failed = |error| silent(&format!("TLS with {address} failed: {error}"));
        self.peer = Some(secured.map_err(failed)?);
        Ok(())
    }

    pub(super) async fn list_modules(&mut self, agreed: i32) -> Result<(), Stop> {
        let mut listing = Vec::new();
        for module in self.config.modules.iter().filter(|module| module.settings.list) {
            let comment = module.settings.comment.clone().unwrap_or_default();
            let comment = expand(&comment, &environment).unwrap_or(comment);
            listing.extend(listing_line(&module.name, &comment));
        }
        const EXIT_SINCE: i32 = 25;
        if agreed >= EXIT_SINCE {
            listing.extend_from_slice(EXIT_LINE);
        }
        Ok(self.peer()?.send(&listing).await?)
    }
}
