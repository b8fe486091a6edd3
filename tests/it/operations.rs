//! Operations in the engine's book: each is begun once its intention is written down, and none stays open
//! that nobody carries out.

use std::path::Path;
use std::sync::Arc;

use snapkeep::config::settings::{Defaults, Settings};
use snapkeep::drivers::null::Null;
use snapkeep::engine::Engine;
use snapkeep::engine::event::{Command, Done, Event, OperationKind, OperationRecord, Refusal, What};
use snapkeep::engine::view::View;
use snapkeep::journal::Journal;
use snapkeep::journal::record::OperationOutcome;
use snapkeep::lifecycle::time::{Moment, Timestamp};
use snapkeep::roster::{Repository, Roster};
use tokio::sync::oneshot::{self, Receiver};

const NOW: Moment = Moment { wall: Timestamp::from_millis(1_772_330_400_000), boot: 1, uptime: 0 };

struct Bench {
    engine: Engine,
    view: Arc<View>,
}

fn bench() -> Bench {
    let settings = Settings::default_in(&Defaults::of_folder(Path::new("/nowhere")));
    let mut roster = Roster::empty(Arc::new(settings));
    roster.repositories.insert("local".into(), Arc::new(Repository::by_hand("local", "null", Arc::new(Null::new()))));
    let view = Arc::new(View::default());
    let journal = Journal::in_memory(NOW).expect("a journal");
    let (engine, _) = Engine::start(journal, Arc::new(roster), view.clone(), 4, NOW, true).expect("started");
    Bench { engine, view }
}

impl Bench {
    fn ask(&mut self, what: What) -> Receiver<Result<Done, Refusal>> {
        let (reply, answer) = oneshot::channel();
        let command = Event::Command(Command { who: "uid:0".into(), what, request: None, reply });
        self.engine.turn(NOW, vec![command]).expect("the journal holds");
        answer
    }

    fn begin(&mut self, subject: &str) -> Result<OperationRecord, Refusal> {
        let what = What::BeginOperation { kind: OperationKind::Maintain, subject: subject.to_owned() };
        match self.ask(what).try_recv().expect("answered")? {
            Done::Operation(record) => Ok(*record),
            other => panic!("{other:?}"),
        }
    }

    fn end(&mut self, number: u64, result: Result<String, String>) {
        drop(self.ask(What::EndOperation { number, result }));
    }

    /// How the latest maintenance ended, and how the latest did that came to an end by itself.
    fn shown(&self) -> [Option<OperationOutcome>; 2] {
        let shown = self.view.repositories().remove(0);
        [shown.maintenance, shown.verdict].map(|record| Some(record?.end?.outcome))
    }
}

#[test]
fn what_nobody_waits_for_is_not_left_open() {
    let mut bench = bench();
    let what = What::BeginOperation { kind: OperationKind::Maintain, subject: "local".to_owned() };
    let (reply, answer) = oneshot::channel();
    drop(answer);
    let command = Event::Command(Command { who: "uid:0".into(), what, request: None, reply });
    bench.engine.turn(NOW, vec![command]).expect("the journal holds");
    assert_eq!(bench.shown(), [Some(OperationOutcome::Interrupted), None]);
    assert_eq!(bench.begin("local").expect("begun").number, 2);
    assert_eq!(bench.shown(), [None, None]);
}

#[test]
fn a_maintenance_under_way_or_cut_off_hides_no_failure() {
    let mut bench = bench();
    let failed = bench.begin("local").expect("begun");
    bench.end(failed.number, Err("it does not hold together".to_owned()));
    bench.begin("local").expect("begun");
    assert_eq!(bench.shown(), [None, Some(OperationOutcome::Failed)]);
    let sound = bench.begin("local").expect("begun");
    bench.end(sound.number, Ok("sound".to_owned()));
    assert_eq!(bench.shown(), [Some(OperationOutcome::Succeeded); 2]);
}

#[test]
fn what_the_journal_would_refuse_is_refused_before() {
    let mut bench = bench();
    for subject in ["", "\0x", "a\nb"] {
        let refused = bench.begin(subject).expect_err("refused");
        assert!(matches!(refused, Refusal::Unavailable(_)), "{refused:?}");
    }
    assert_eq!(bench.begin("local").expect("begun").number, 1);
}
