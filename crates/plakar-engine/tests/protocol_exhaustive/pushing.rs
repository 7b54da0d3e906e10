//! A push, a resumed one and an undelete: what each does between looks.

use plakar_engine::protocol::*;

use crate::cast::{Broken::*, *};
use crate::places::{Have, Local, State};
use crate::world::{Reader, World};

impl World {
    pub fn push(
        &mut self,
        push: &Push,
        state: &State,
        local: &Local,
        out: &mut dyn FnMut(&mut World, u32, u64, Local),
    ) {
        let (facts, packs) = (state.facts, state.packs);
        let reader = Reader::Pushing(push.session);
        match local.clone() {
            Local::Start => {
                if push.baseless {
                    let view = self.view(facts, reader);
                    let local = self.capture(push, &view, Have::default(), Writer::begin(push.session));
                    out(self, facts, packs, local);
                }
                // What it resumes or undeletes was seen in some earlier look.
                let known =
                    |view: &V, name: u8| view.unfinished(name) || view.removed(name) || view.finished(name);
                let view = self.view(facts, Reader::Anybody);
                if push.baseless || push.hints.iter().all(|&hint| known(&view, hint)) {
                    let (pinning, mut fact) = Writer::pin(push.session, &push.bases, &push.hints);
                    if let (BaseNotPinned, Fact::Prepared { pins, .. }) = (self.broken, &mut fact) {
                        pins.clear();
                    }
                    if self.broken == BaseLookedAtBeforePinned {
                        let local = self.pinned(push, &view, pinning);
                        out(self, facts, packs, Local::LateFact(Box::new(local), fact));
                    } else {
                        let facts = self.put(facts, fact);
                        out(self, facts, packs, Local::PinLook(pinning));
                    }
                }
            }
            Local::LateFact(next, fact) => {
                let facts = self.put(facts, fact);
                out(self, facts, packs, *next);
            }
            Local::PinLook(pinning) => {
                let view = self.view(facts, Reader::Pinning);
                let local = self.pinned(push, &view, pinning);
                out(self, facts, packs, local);
            }
            Local::Store(mut have, mut writer, ids) => {
                if !push.source && ids & !self.held(packs) != 0 {
                    return out(self, facts, packs, Local::Failed);
                }
                let pack = self.pack(push.session, have.written, ids);
                writer.wrote(pack);
                have.written += 1;
                have.packs |= 1 << pack;
                if self.broken == StoredAgainNotAnnounced && have.again > 0 {
                    let (announced, _) = writer.prepare::<u8>();
                    return out(self, facts, packs | 1 << pack, Local::Look(have, announced));
                }
                let first = have.written == 1 && have.again == 0;
                let local = match push.partial && first {
                    true => Local::Midway(have, writer),
                    false => Local::Prepare(have, writer),
                };
                out(self, facts, packs | 1 << pack, local);
            }
            Local::Midway(have, mut writer) => {
                let fact = writer.checkpoint();
                let facts = self.put(facts, fact);
                out(self, facts, packs, Local::Prepare(have, writer));
            }
            Local::Prepare(have, writer) => {
                let (announced, fact) = writer.prepare();
                if self.broken == LookBeforePrepared {
                    let next = self.verdict(push, facts, have, announced);
                    return out(self, facts, packs, Local::LateFact(Box::new(next), fact));
                }
                let facts = self.put(facts, fact);
                out(self, facts, packs, Local::Look(have, announced));
            }
            Local::Look(have, announced) => {
                if self.broken == NoLookBeforeFinal {
                    let Verdict::Clean(cleared) = announced.looked(&self.everything_announced()) else {
                        return;
                    };
                    let (finished, fact) = cleared.finish::<u8, u8>();
                    let facts = self.put(facts, fact);
                    return out(self, facts, packs, Local::LastLook(finished));
                }
                let local = self.verdict(push, facts, have, announced);
                out(self, facts, packs, local);
            }
            Local::Finish(cleared) => {
                let (finished, fact) = cleared.finish();
                let facts = self.put(facts, fact);
                let local =
                    if self.broken == NoLookAfterFinal { Local::Acked } else { Local::LastLook(finished) };
                out(self, facts, packs, local);
            }
            Local::LastLook(finished) => {
                let view = self.view(facts, reader);
                let local = match finished.looked(&view) {
                    Outcome::Published => self.note("published", Local::Acked),
                    Outcome::Revoked => self.note("revoked after Final", Local::Failed),
                };
                out(self, facts, packs, local);
            }
            _ => {}
        }
    }

    pub fn note(&mut self, what: &'static str, local: Local) -> Local {
        self.seen.insert(what);
        local
    }

    /// A log in which nothing speaks against anybody.
    pub fn everything_announced(&self) -> V {
        let packs = (0..self.packs.values.len() as u8).collect();
        let mut view = V::new();
        view.add(&Fact::Prepared { session: BASE, pins: vec![], packs, root: Root::None });
        view
    }

    pub fn pinned(&mut self, push: &Push, view: &V, pinning: Pinning<u8, u8>) -> Local {
        let (writer, pins) = pinning.looked(view);
        let mut have = Have::default();
        for base in pins.held {
            self.seen.insert("base held");
            have.trusted |= closure(base, Root::Publication) & SHARED;
        }
        for _ in pins.lost {
            self.seen.insert("base lost");
            if self.broken == LostBaseTrusted {
                have.trusted |= SHARED;
            }
        }
        if self.broken == PartialRootTrusted && !push.hints.is_empty() {
            have.trusted |= SHARED;
        }
        self.capture(push, view, have, writer)
    }

    /// Finds each id that is still needed in a pack that may be relied on, else stores it.
    pub fn capture(&mut self, push: &Push, view: &V, mut have: Have, mut writer: Writer<u8, u8>) -> Local {
        let needed = closure(push.session, Root::Publication) & !have.trusted & !self.held(have.packs);
        let mut store = 0;
        for id in (0..16).map(|bit| 1 << bit).filter(|id| needed & id != 0) {
            let found = (0..self.packs.values.len() as u8)
                .find(|&pack| self.ids(pack) & id != 0 && view.may_rely(pack));
            match found {
                Some(pack) => {
                    writer.relies_on(pack);
                    have.packs |= 1 << pack;
                }
                None => store |= id,
            }
        }
        if store == 0 {
            return Local::Prepare(have, writer);
        }
        if self.broken == PreparedBeforeItsPacks && have.again == 0 {
            let pack = self.pack(push.session, have.written, store);
            let mut early = writer.clone();
            early.wrote(pack);
            return Local::LateFact(Box::new(Local::Store(have, writer, store)), early.checkpoint());
        }
        Local::Store(have, writer, store)
    }

    pub fn verdict(
        &mut self,
        push: &Push,
        facts: u32,
        mut have: Have,
        announced: Announced<u8, u8>,
    ) -> Local {
        let deciding = match self.broken {
            StoredAgainNotAnnounced | LookBeforePrepared => Reader::Deciding(push.session),
            _ => Reader::Pushing(push.session),
        };
        let last = self.view(facts, deciding);
        match announced.looked(&last) {
            Verdict::Clean(cleared) => Local::Finish(cleared),
            Verdict::Revoked => self.note("revoked before Final", Local::Failed),
            Verdict::StoreAgain(writer, lost) => {
                self.seen.insert("stored again");
                lost.iter().for_each(|pack| have.packs &= !(1 << pack));
                have.again += 1;
                if have.again > 2 {
                    return Local::Failed;
                }
                let view = self.view(facts, Reader::Pushing(push.session));
                self.capture(push, &view, have, writer)
            }
        }
    }
}
