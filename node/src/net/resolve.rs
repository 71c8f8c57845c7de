//! From a peer's address to where it can be dialled.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::Semaphore;

/// A look-up that hangs keeps its thread until the system's resolver gives up, however soon the dial does. So there are
/// never more of them, in the whole process.
static LOOK_UPS: Semaphore = Semaphore::const_new(2);

/// Where `host:port` may be. Only a name is looked up.
pub(super) async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let address = address.to_owned();
    look_up(move || Ok(address.to_socket_addrs()?.collect())).await
}

/// Does it on a thread that may block. The place is the thread's: who stops waiting does not make it free.
async fn look_up<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let place = LOOK_UPS.acquire().await.map_err(io::Error::other)?;
    let looked_up = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    looked_up.await?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::{BLOCKING_THREADS, run_to_end, runtime};
    use super::*;

    #[test]
    fn look_ups_that_hang_leave_threads_for_others() {
        runtime().expect("a runtime").block_on(async {
            let mut hanging = Vec::new();
            for _ in 0..2 * BLOCKING_THREADS {
                let (end, hangs) = mpsc::channel::<()>();
                let given_up = look_up(move || {
                    // It ends when the other end is dropped.
                    let _ = hangs.recv();
                    Ok(())
                });
                tokio::time::timeout(Duration::from_millis(20), given_up).await.expect_err("it hangs");
                hanging.push(end);
            }
            let other = tokio::task::spawn_blocking(|| "done");
            let other = tokio::time::timeout(Duration::from_secs(10), other).await;
            // Before anything is asserted: the runtime waits for its threads.
            drop(hanging);
            assert_eq!(other.expect("a thread is free").expect("it does not panic"), "done");
            look_up(|| Ok(())).await.expect("places are free again");
        });
    }

    #[test]
    fn a_look_up_that_hangs_does_not_keep_its_runtime() {
        let (end, hangs) = mpsc::channel::<()>();
        let (stopped, has_stopped) = mpsc::channel();
        std::thread::spawn(move || {
            run_to_end(runtime().expect("a runtime"), async {
                let given_up = look_up(move || {
                    let _ = hangs.recv();
                    Ok(())
                });
                tokio::time::timeout(Duration::from_millis(20), given_up).await.expect_err("it hangs");
            });
            stopped.send(()).expect("the test waits");
        });
        has_stopped.recv_timeout(Duration::from_secs(10)).expect("the runtime has ended");
        drop(end);
    }

    #[tokio::test]
    async fn addresses_need_no_look_up() {
        // However many look-ups hang.
        let _all = LOOK_UPS.acquire_many(2).await.expect("it is never closed");
        for address in ["127.0.0.1:9092", "[::1]:9092"] {
            assert_eq!(resolve(address).await.expect("it is one"), [address.parse().expect("it is one")]);
        }
    }

    #[tokio::test]
    async fn names_are_looked_up() {
        let found = resolve("localhost:9092").await.expect("every host has it");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 9092), "{found:?}");
    }
}
