//! `rsync-mirror proxy`: a front for rsync daemons.

use std::io::Write;
use std::path::Path;

use rsync_mirror::proxy::{Order, ProxyConfig, ProxyError};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::arguments::Proxy;
use crate::service::{BAD_CONFIG, NO_SOCKET, fail, note, open_many_files, tell_manager};

/// Serves until a signal says to stop; answers the exit code.
pub(crate) fn proxy(arguments: &Proxy) -> u8 {
    if arguments.check {
        return check(arguments);
    }
    open_many_files();
    match serve(&arguments.config) {
        Ok(Ok(())) => 0,
        Ok(Err(error @ ProxyError::Listen { .. })) => fail(NO_SOCKET, error),
        Ok(Err(error @ (ProxyError::Config(_) | ProxyError::Tls(_)))) => fail(BAD_CONFIG, error),
        Ok(Err(error)) => fail(1, error),
        Err(error) => fail(1, error),
    }
}

fn check(arguments: &Proxy) -> u8 {
    let error = ProxyConfig::load(&arguments.config).err();
    if arguments.json {
        let errors: Vec<String> = error.iter().map(ToString::to_string).collect();
        // Whoever does not read on has read enough.
        let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "errors": errors }));
        return if errors.is_empty() { 0 } else { BAD_CONFIG };
    }
    error.map_or(0, |error| fail(BAD_CONFIG, error))
}

fn serve(config: &Path) -> std::io::Result<Result<(), ProxyError>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let proxy = match rsync_mirror::proxy::Proxy::start(config, Box::new(note)).await {
            Ok(proxy) => proxy,
            Err(error) => return Ok(Err(error)),
        };
        let (sender, orders) = mpsc::channel(16);
        let running = proxy.run(orders);
        tell_manager(&[NotifyState::Ready]);
        let steering = async {
            let mut is_draining = false;
            loop {
                let order = tokio::select! {
                    _ = hangup.recv() => Order::Reload,
                    _ = terminate.recv() => if is_draining { Order::Stop } else { Order::Drain },
                    _ = interrupt.recv() => if is_draining { Order::Stop } else { Order::Drain },
                };
                if order == Order::Drain {
                    is_draining = true;
                    tell_manager(&[NotifyState::Stopping]);
                }
                if sender.send(order).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = running => Ok(Ok(())),
            () = steering => Ok(Ok(())),
        }
    })
}
