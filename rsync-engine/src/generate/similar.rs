//! `--fuzzy`: a file of a similar name serves as basis of one that is missing (spec 07 §6.5).

use std::collections::HashSet;
use std::fs::File;
use std::io;

use rsync_proto::options::Debug as DebugTopic;
use rsync_proto::text::{Message, Topic};

use super::entry::At;
use super::fuzzy::{WORST_SCORE, score};
use super::run::Generator;
use crate::confine::Dir;

/// The files near the entry at hand, as they were when the first of its directory was missing.
#[derive(Debug, Default)]
pub(super) struct Similar {
    /// The directory of the entry at hand.
    dir: Vec<u8>,
    /// Files of it that are updated in this run: they may change while they serve.
    requested: HashSet<Vec<u8>>,
    /// What the destination and, in their order, the alternate destinations have in it.
    places: Option<Vec<Place>>,
}

#[derive(Debug)]
struct Place {
    alternate: Option<u8>,
    /// Non-empty regular files in the order of names.
    files: Vec<Similarity>,
}

#[derive(Debug)]
struct Similarity {
    name: Vec<u8>,
    size: u64,
    /// Seconds since 1970.
    mtime: i64,
}

/// A file that serves as basis.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The number of the alternate destination it is in; `None` for the destination.
    pub(super) alternate: Option<u8>,
    /// Its name in the directory of the entry.
    pub(super) name: Vec<u8>,
}

impl Similar {
    fn enter(&mut self, dir: &[u8]) {
        if self.dir != dir {
            *self = Self { dir: dir.to_vec(), ..Self::default() };
        }
    }
}

impl Generator<'_> {
    /// The content of an entry is about to change: it does not serve for others.
    pub(super) fn leave_to_itself(&mut self, at: &At<'_>) {
        if let (1.., Some(destination)) = (self.session.options.fuzzy, self.destination) {
            let (dir, name) = destination.place_of(&at.entry);
            self.similar.enter(dir);
            self.similar.requested.insert(name.to_vec());
        }
    }

    /// The best basis for an entry that is missing.
    pub(super) fn find_similar(&mut self, at: &At<'_>) -> Option<Found> {
        if self.session.options.fuzzy == 0 {
            return None;
        }
        let (dir, wanted) = self.destination?.place_of(&at.entry);
        self.similar.enter(dir);
        if self.similar.places.is_none() {
            self.similar.places = Some(self.look_around(at));
        }
        let found = self.equal(at).or_else(|| self.nearest(wanted))?;
        let shown = self.shown(found.alternate, &found.name);
        self.session.say(Message::FuzzyBasis(at.path, &shown));
        Some(found)
    }

    fn look_around(&mut self, at: &At<'_>) -> Vec<Place> {
        let here = self.in_place(at, |dir, _| files_of(dir)).unwrap_or_default();
        let mut places = vec![Place { alternate: None, files: here }];
        if self.session.options.fuzzy > 1 {
            for number in (0..self.alternates.len()).filter_map(|number| u8::try_from(number).ok()) {
                let files = self.in_alternate(at, number, |dir, _| files_of(dir)).unwrap_or_default();
                places.push(Place { alternate: Some(number), files });
            }
        }
        places
    }

    /// All files that may serve, with where they are.
    fn candidates(&self) -> impl Iterator<Item = (Option<u8>, &Similarity)> {
        let similar = &self.similar;
        let all = similar.places.iter().flatten();
        all.flat_map(|place| place.files.iter().map(|file| (place.alternate, file)))
            .filter(|(alternate, file)| alternate.is_some() || !similar.requested.contains(&file.name))
    }

    /// A file of the same size and time is most likely the same under its old name.
    fn equal(&self, at: &At<'_>) -> Option<Found> {
        let (size, mtime) = (at.entry.size(), at.entry.mtime());
        let mut equal = self.candidates().filter(|(_, file)| file.size == size && file.mtime == mtime);
        equal.next().map(|(alternate, file)| Found { alternate, name: file.name.clone() })
    }

    /// The file whose name is nearest; of equally near ones, the last.
    fn nearest(&self, wanted: &[u8]) -> Option<Found> {
        let tells = self.session.events.wants(Topic::Debug(DebugTopic::Fuzzy, 2));
        let mut limit = WORST_SCORE;
        let mut nearest = None;
        for (alternate, file) in self.candidates() {
            let distance = score(&file.name, wanted, limit);
            if tells {
                let shown = self.shown(alternate, &file.name);
                self.session.say(Message::FuzzyDistance(&shown, distance));
            }
            if let Some(distance) = distance.filter(|distance| *distance <= limit) {
                limit = distance;
                nearest = Some((alternate, file));
            }
        }
        nearest.map(|(alternate, file)| Found { alternate, name: file.name.clone() })
    }

    /// The path of a file in the directory of the entry at hand, for messages.
    fn shown(&self, alternate: Option<u8>, name: &[u8]) -> Vec<u8> {
        let alternates = self.destination.map_or(&[][..], |destination| &destination.alternates);
        let place = alternate.and_then(|number| alternates.get(usize::from(number)));
        let mut shown = Vec::new();
        for part in [place.map_or(&b""[..], |place| &place.path), &self.similar.dir] {
            if !part.is_empty() {
                shown.extend_from_slice(part);
                shown.push(b'/');
            }
        }
        shown.extend_from_slice(name);
        shown
    }

    /// Opens what was found for an entry.
    pub(super) fn open_similar(&mut self, at: &At<'_>, found: &Found) -> io::Result<File> {
        match found.alternate {
            Some(number) => self.in_alternate(at, number, |dir, _| dir.open_read(&found.name)),
            None => self.in_place(at, |dir, _| dir.open_read(&found.name)),
        }
    }
}

fn files_of(dir: &Dir) -> io::Result<Vec<Similarity>> {
    let mut names = dir.names()?;
    names.sort_unstable();
    let files = names.into_iter().filter_map(|name| {
        let stat = dir.stat(&name).ok().filter(|stat| stat.is_file() && stat.size > 0)?;
        Some(Similarity { name, size: stat.size, mtime: stat.mtime.0 })
    });
    Ok(files.collect())
}
