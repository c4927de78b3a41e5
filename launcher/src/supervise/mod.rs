//! A set of children: their starts, their deaths, their end.
//!
//! Everything that can happen comes through one channel to the main thread: a child has ended, a
//! signal has arrived, work on the side has something to report. Nothing polls and nothing is
//! decided anywhere else.

use std::io;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::child::{Child, Spec, wait_for_end};
use crate::signals;

/// What a guard needs to end everything below it, with room for a slow machine.
const GUARD_TIMEOUT: Duration = Duration::from_secs(2);

/// What children get that were not asked to end before another had used up the grace.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Event<W> {
    /// A child has ended, asked or not.
    Exited(ChildId),
    /// The launcher got this signal.
    Signalled(i32),
    /// Work on the side reports.
    Work(W),
}

/// A child's place in the order of starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChildId(usize);

/// Children that end when this is dropped.
#[derive(Debug)]
pub(crate) struct Supervisor<W> {
    children: Vec<Child>,
    events: Receiver<Event<W>>,
    sender: Sender<Event<W>>,
}

/// Takes what work on the side has to say.
#[derive(Debug)]
pub(crate) struct Reporter<W>(Sender<Event<W>>);

impl<W> Clone for Reporter<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W> Reporter<W> {
    /// Hands a report to the main thread. It may be ending and not listen any more.
    pub(crate) fn report(&self, work: W) {
        self.0.send(Event::Work(work)).ok();
    }
}

impl<W: Send + 'static> Supervisor<W> {
    /// Without children.
    pub(crate) fn new() -> Self {
        let (sender, events) = channel();
        Self {
            children: Vec::new(),
            events,
            sender,
        }
    }

    /// Takes over the signals that end the launcher; they are events from now on.
    pub(crate) fn watch_signals(&self) -> io::Result<()> {
        let sender = self.sender.clone();
        signals::watch(move |signal| sender.send(Event::Signalled(signal)).is_ok())
    }

    /// Starts a child. To be called on the main thread only, as [`Child::spawn`] says.
    pub(crate) fn start(&mut self, spec: Spec) -> io::Result<ChildId> {
        let child = Child::spawn(spec)?;
        let (id, pid, ended) = (
            ChildId(self.children.len()),
            child.pid(),
            self.sender.clone(),
        );
        // Owned before anything can fail, so that it is stopped with the others.
        self.children.push(child);
        thread::Builder::new()
            .name("wait".to_owned())
            .spawn(move || {
                // The only error is that there is no such child, and then it has ended too.
                wait_for_end(pid).ok();
                ended.send(Event::Exited(id)).ok();
            })?;
        Ok(id)
    }

    /// Does work on the side; it must not start children.
    pub(crate) fn work(&self, job: impl FnOnce(Reporter<W>) + Send + 'static) -> io::Result<()> {
        let reporter = Reporter(self.sender.clone());
        thread::Builder::new()
            .name("work".to_owned())
            .spawn(move || job(reporter))?;
        Ok(())
    }

    /// Waits for the next event; `None` when there was none before the deadline.
    pub(crate) fn next_event(&mut self, deadline: Option<Instant>) -> Option<Event<W>> {
        let event = match deadline {
            None => self.events.recv().ok()?,
            Some(deadline) => {
                let wait = deadline.saturating_duration_since(Instant::now());
                self.events.recv_timeout(wait).ok()?
            }
        };
        if let Event::Exited(id) = event
            && let Some(child) = self.children.get_mut(id.0)
        {
            child.note_end();
        }
        Some(event)
    }

    /// A child by its id.
    pub(crate) fn child(&self, id: ChildId) -> Option<&Child> {
        self.children.get(id.0)
    }

    /// How a child ended, after [`Event::Exited`]; what it left in its group is killed.
    pub(crate) fn reap(&mut self, id: ChildId) -> Option<ExitStatus> {
        self.children.get_mut(id.0)?.reap().ok()
    }

    /// Ends all children, the last started first: SIGTERM, and SIGKILL for what still runs when
    /// `grace`, which is for all of them together, is over or another signal arrives. Those whose turn
    /// had not come by then are asked at once and get two seconds more.
    ///
    /// Gives the names of those that had to be killed.
    pub(crate) fn stop(&mut self, grace: Duration) -> Vec<String> {
        let mut deadline = Instant::now() + grace;
        let (mut patient, mut all_asked) = (true, false);
        let mut killed = Vec::new();
        for index in (0..self.children.len()).rev() {
            if !all_asked {
                self.ask_to_end(index);
            }
            while patient && self.runs(index) {
                match self.next_event(Some(deadline)) {
                    Some(Event::Exited(_) | Event::Work(_)) => {}
                    Some(Event::Signalled(_)) => patient = false,
                    None => break,
                }
            }
            if self.runs(index) && !all_asked {
                // One used up the time of all: the others get a last moment together.
                all_asked = true;
                deadline = Instant::now() + LAST_GRACE;
                (0..index).for_each(|other| self.ask_to_end(other));
            }
            if self.runs(index) {
                self.kill(index, &mut killed);
            }
            let Some(child) = self.children.get_mut(index) else {
                continue;
            };
            // Its status no longer matters to anyone.
            child.reap().ok();
        }
        killed
    }

    fn ask_to_end(&self, index: usize) {
        if let Some(child) = self.children.get(index) {
            child.signal(Signal::TERM);
        }
    }

    /// Kills a child, and a guard that does not end by itself then.
    fn kill(&mut self, index: usize, killed: &mut Vec<String>) {
        let Some(child) = self.children.get_mut(index) else {
            return;
        };
        child.kill();
        killed.push(child.name().to_owned());
        let deadline = Instant::now() + GUARD_TIMEOUT;
        while self.runs(index) && Instant::now() < deadline {
            self.next_event(Some(deadline));
        }
        if let Some(child) = self.children.get(index)
            && !child.has_ended()
        {
            child.signal(Signal::KILL);
        }
    }

    fn runs(&self, index: usize) -> bool {
        self.children
            .get(index)
            .is_some_and(|child| !child.has_ended())
    }
}

impl<W> Drop for Supervisor<W> {
    /// For the ways out that nobody planned: all groups are killed and reaped.
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            child.kill();
            child.reap().ok();
        }
    }
}

#[cfg(test)]
mod tests;
