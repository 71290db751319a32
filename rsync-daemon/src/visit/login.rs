//! The login of a module that wants one (spec 09 §8).

use std::net::IpAddr;
use std::sync::Arc;

use bstr::BString;
use rsync_proto::session::{
    self, AuthDigest, LONG_LINE_LIMIT, Refusal, auth_required_line, parse_auth_answer,
};
use zeroize::Zeroizing;

use super::{Greeted, Stop, Visit, variable};
use crate::access::HostName;
use crate::auth::{self, Answer, Secrets, Suffix};
use crate::config::{Module, expand};
use crate::files::to_path;
use crate::order::Visitor;

impl Visit<'_> {
    /// Authenticates the client where the module wants that; answers its user name, empty if not, and what
    /// the rule that let it in says.
    pub(super) async fn log_in(
        &mut self,
        module: &Module,
        host: &HostName,
        greeted: &Greeted,
    ) -> Result<(BString, Option<Suffix>), Stop> {
        let settings = &module.settings;
        let visitor = Visitor {
            user: BString::default(),
            host: host.text().to_owned(),
            address: self.address,
            module: module.name.clone(),
        };
        let expanded = |text: &Option<BString>| {
            let text = text.clone().unwrap_or_default();
            expand(&text, &|name| variable(name, module, Some(&visitor)))
                .map_err(|error| Stop::Silent(error.to_string()))
        };
        let users = expanded(&settings.auth_users)?;
        if auth::names(&users).is_empty() {
            return Ok((BString::default(), None));
        }
        let digest = AuthDigest::choose(&greeted.greeting, greeted.agreed)
            .map_err(|error| Refusal::Startup(error.daemon_text().into()))?;
        let prefix = format!("auth failed on module {} from {}", module.name, self.client(host));
        let failed = || Stop::Refused(Refusal::AuthFailed(module.name.clone()));
        if let Some(floor) = &settings.auth_digest {
            let refusal = match AuthDigest::from_name(floor) {
                None => {
                    format!("the configured 'auth digest = {floor}' is not a supported digest on this build")
                }
                Some(least) if !digest.is_at_least(least) => format!(
                    "negotiated auth digest {} is weaker than the required 'auth digest = {floor}'",
                    digest.name()
                ),
                Some(_) => String::new(),
            };
            if !refusal.is_empty() {
                self.log.warning(format!("{prefix}: {refusal}"));
                return Err(failed());
            }
        }
        let mut entropy: [u8; 64] = rand::random();
        entropy[..16].iter_mut().zip(address_bytes(self.address)).for_each(|(byte, mix)| *byte ^= mix);
        let challenge = digest.challenge(&entropy);
        self.peer()?.send(&auth_required_line(&challenge)).await?;
        let line = self.peer()?.decode(|input| session::line(input, LONG_LINE_LIMIT)).await?;
        let Some((user, response)) = parse_auth_answer(&line) else {
            self.log.warning(format!("{prefix}: invalid challenge response"));
            return Err(failed());
        };
        let (user, response) = (BString::from(user), response.to_vec());
        let secrets = match &self.shared.host().passwords {
            Some(passwords) => {
                let (passwords, caller) = (Arc::clone(passwords), self.caller(module, host));
                let user = user.clone();
                let found = tokio::task::spawn_blocking(move || passwords(&caller, user.as_ref()));
                Secrets::Known(found.await.ok().flatten().map(Zeroizing::new))
            }
            None => {
                let file = expanded(&settings.secrets_file)?;
                let (file, strict_modes) = (to_path(&file), settings.strict_modes);
                let file = move || {
                    let file = Some(file.as_path()).filter(|file| !file.as_os_str().is_empty());
                    auth::open_secrets(file, strict_modes)
                };
                Secrets::File(self.in_room(file).await?)
            }
        };
        let name = user.clone();
        // Groups of users may have to be asked of other machines.
        let checked = tokio::task::spawn_blocking(move || {
            let challenge = challenge.as_bytes();
            auth::check(&users, secrets, &Answer { user: &name, response: &response, digest, challenge })
        });
        match checked.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(suffix) => Ok((user, suffix)),
            Err(why) => {
                let why = match auth::is_about_the_file(&why) {
                    true => {
                        self.log.warning(&why);
                        "ignoring secrets file"
                    }
                    false => &why,
                };
                self.log.warning(format!("{prefix} for {user}: {why}"));
                // Guessing takes its time.
                tokio::time::sleep(self.shared.auth_delay()).await;
                Err(failed())
            }
        }
    }
}

fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
