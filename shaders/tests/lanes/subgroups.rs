//! Operations between the lanes of a subgroup.

use naga::{Direction, GatherMode, SubgroupOperation};

use super::arithmetic::Wide;
use super::machine::{Frame, Machine};

impl<'a> Machine<'a> {
    pub fn assert_whole_subgroups(&self, active: &[bool]) {
        let whole = |subgroup: &[bool]| subgroup.iter().all(|&active| active == subgroup[0]);
        assert!(active.chunks(self.lanes).all(whole), "a subgroup operation that some lanes do not come to");
    }

    pub fn reduce(&self, op: SubgroupOperation, is_float: bool, value: &Wide, active: &[bool]) -> Wide {
        self.assert_whole_subgroups(active);
        let both = |a: u32, b: u32| match (op, is_float) {
            (SubgroupOperation::Add, true) => (f32::from_bits(a) + f32::from_bits(b)).to_bits(),
            (SubgroupOperation::Max, true) => f32::from_bits(a).max(f32::from_bits(b)).to_bits(),
            (SubgroupOperation::Max, false) => a.max(b),
            other => panic!("{other:?} is not interpreted"),
        };
        Wide::of(self.threads, value.size, |thread, word| {
            let first = thread - thread % self.lanes;
            let words = (first..first + self.lanes).map(|lane| value.at(lane)[word]);
            words.reduce(both).expect("a subgroup has lanes")
        })
    }

    pub fn gather(&self, frame: &Frame<'a>, mode: &GatherMode, value: &Wide, active: &[bool]) -> Wide {
        self.assert_whole_subgroups(active);
        let index = match mode {
            GatherMode::Shuffle(index) | GatherMode::ShuffleXor(index) | GatherMode::QuadBroadcast(index) => {
                Some(self.value(frame, *index))
            }
            _ => None,
        };
        let index = |thread: usize| index.as_ref().map_or(0, |index| index.data().at(thread)[0] as usize);
        Wide::of(self.threads, value.size, |thread, word| {
            let lane = thread % self.lanes;
            let source = match mode {
                GatherMode::Shuffle(_) => index(thread),
                GatherMode::ShuffleXor(_) => lane ^ index(thread),
                GatherMode::QuadBroadcast(_) => lane - lane % 4 + index(thread),
                GatherMode::QuadSwap(Direction::X) => lane ^ 1,
                GatherMode::QuadSwap(Direction::Y) => lane ^ 2,
                other => panic!("{other:?} is not interpreted"),
            };
            assert!(!active[thread] || source < self.lanes, "lane {source} of {}", self.lanes);
            value.at(thread - lane + source % self.lanes)[word]
        })
    }
}
