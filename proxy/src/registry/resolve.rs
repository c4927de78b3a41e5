//! Host names to addresses, on threads of their own.
//!
//! A resolver may take many seconds for a name that does not exist, and a peer may register any number
//! of them, so a name never waits on the registry thread. The threads are started with the first name:
//! nodes that register IP addresses need none. They are not waited for at the end, because a look-up
//! cannot be interrupted; they end with the look-up they are in.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::table::Id;
use super::wake::Wake;
use crate::limits;
use crate::nodes::HttpAddress;

/// Threads that resolve: one slow name server answer does not hold up the next name.
const THREADS: usize = 4;

/// Addresses of one name that are looked at.
const ADDRESSES_MAX: usize = 8;

/// Finds the addresses of a host name, and blocks.
pub(super) type LookUp = fn(&HttpAddress) -> Vec<SocketAddr>;

struct Question {
    id: Id,
    http: HttpAddress,
}

/// What a name means.
#[derive(Debug)]
pub(super) struct Answer {
    worker: usize,
    pub(super) id: Id,
    pub(super) http: HttpAddress,
    /// Its addresses, the best first; none when it has none or could not be resolved.
    pub(super) sockets: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Worker {
    questions: SyncSender<Question>,
    waiting: usize,
}

/// The threads and what they are asked.
#[derive(Debug)]
pub(super) struct Resolver {
    look_up: LookUp,
    wake: Wake,
    workers: Vec<Worker>,
    to_answers: SyncSender<Answer>,
    answers: Receiver<Answer>,
}

impl Resolver {
    /// A resolver that rings `wake` when it has an answer.
    pub(super) fn new(look_up: LookUp, wake: Wake) -> Self {
        let (to_answers, answers) = sync_channel(limits::RESOLVES_MAX);
        Self {
            look_up,
            wake,
            workers: Vec::new(),
            to_answers,
            answers,
        }
    }

    /// Names that are being resolved.
    pub(super) fn running(&self) -> usize {
        self.workers.iter().map(|worker| worker.waiting).sum()
    }

    /// Has a name resolved by the thread with the least to do. It returns false, and there will be no
    /// answer, when [`limits::RESOLVES_MAX`] names are being resolved or there is no thread.
    pub(super) fn ask(&mut self, id: Id, http: HttpAddress) -> bool {
        if self.running() >= limits::RESOLVES_MAX {
            return false;
        }
        while self.workers.len() < THREADS {
            match self.spawn() {
                Ok(worker) => self.workers.push(worker),
                Err(_) if self.workers.is_empty() => return false,
                Err(_) => break,
            }
        }
        let Some(worker) = self.workers.iter_mut().min_by_key(|worker| worker.waiting) else {
            return false;
        };
        let is_asked = worker.questions.try_send(Question { id, http }).is_ok();
        worker.waiting += usize::from(is_asked);
        is_asked
    }

    /// The next answer, if there is one.
    pub(super) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        if let Some(worker) = self.workers.get_mut(answer.worker) {
            worker.waiting = worker.waiting.saturating_sub(1);
        }
        Some(answer)
    }

    fn spawn(&self) -> io::Result<Worker> {
        let (questions, asked) = sync_channel::<Question>(limits::RESOLVES_MAX);
        let (worker, look_up) = (self.workers.len(), self.look_up);
        let (answers, wake) = (self.to_answers.clone(), self.wake.clone());
        let work = move || {
            for Question { id, http } in asked {
                let sockets = look_up(&http);
                if answers
                    .send(Answer {
                        worker,
                        id,
                        http,
                        sockets,
                    })
                    .is_err()
                {
                    return;
                }
                wake.ring();
            }
        };
        std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(work)?;
        Ok(Worker {
            questions,
            waiting: 0,
        })
    }
}

/// Asks the system's resolver. IPv4 comes first: it is all that vLLM listens at unless told otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "it blocks a thread that is there for nothing else"
)]
pub(super) fn system(http: &HttpAddress) -> Vec<SocketAddr> {
    use std::net::ToSocketAddrs as _;

    let found = (http.host(), http.port()).to_socket_addrs();
    let mut sockets: Vec<SocketAddr> = found.into_iter().flatten().take(ADDRESSES_MAX).collect();
    sockets.sort_by_key(SocketAddr::is_ipv6);
    sockets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(wake: &Wake) {
        let mut items = [zmq::PollItem::from_fd(wake.fd(), zmq::POLLIN)];
        assert_eq!(zmq::poll(&mut items, 20_000).unwrap(), 1, "nobody rang");
        wake.answer();
    }

    fn address(text: &str) -> HttpAddress {
        HttpAddress::parse(text).unwrap()
    }

    #[test]
    fn name_is_answered_with_its_address() {
        let wake = Wake::new().unwrap();
        let mut resolver = Resolver::new(
            |http| vec![([10, 0, 0, 1], http.port()).into()],
            wake.clone(),
        );

        assert!(resolver.ask(Id::test(7), address("node-a:80")));
        wait(&wake);

        let answer = resolver.answer().unwrap();
        assert_eq!(
            (answer.id, answer.http.as_str()),
            (Id::test(7), "node-a:80")
        );
        assert_eq!(answer.sockets, ["10.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolver.running(), 0);
    }

    #[test]
    fn number_of_names_under_way_is_bounded() {
        let wake = Wake::new().unwrap();
        let mut resolver = Resolver::new(|_| Vec::new(), wake);

        let asked = (0..100)
            .filter(|n| resolver.ask(Id::test(*n), address("node-a:80")))
            .count();

        assert_eq!(asked, limits::RESOLVES_MAX);
        assert_eq!(resolver.running(), limits::RESOLVES_MAX);
    }

    #[test]
    fn the_system_knows_the_local_host() {
        let local = system(&address("localhost:80"));
        assert!(!local.is_empty() && local.iter().all(|socket| socket.ip().is_loopback()));
        assert!(system(&address("no-such-host.invalid:80")).is_empty());
    }
}
