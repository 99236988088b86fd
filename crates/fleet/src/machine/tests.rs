use std::task::{Context, Poll, Waker};

use pointsman_config::{AppProtocol, EndpointAddress, EngineAccess, Timeouts};
use pointsman_core::{EndpointSpec, Policy, PolicySet};
use pointsman_telemetry::{BuildInfo, Metrics};

use super::*;
use crate::connect::Connector;

const POLICY: PolicyId = PolicyId(0);
const ENDPOINT: EndpointId = EndpointId(7);
const HELD: RequestId = RequestId(1_000);

fn endpoint() -> Arc<Endpoint> {
    let pool = Metrics::new(&BuildInfo { version: "0.0.0", commit: "" }).pool("default/a");
    Arc::new(Endpoint {
        id: ENDPOINT,
        address: EndpointAddress {
            host: "127.0.0.1".into(),
            port: 1,
            protocol: AppProtocol::Http,
            engine: None,
        },
        timeouts: Timeouts::default(),
        vitals: Arc::default(),
        authority: "127.0.0.1:1".into(),
        connector: Arc::new(Connector::new(&EngineAccess::default()).unwrap()),
        series: pool.endpoint("127.0.0.1:1"),
        pool,
        served: Arc::default(),
    })
}

fn machine() -> Arc<Machine> {
    let config = PoolConfig { seed: 1, decisions: false };
    let machine = Machine::new(0, config, Clock::start(), Arc::default(), None);
    machine.tell(Event::PolicyChanged { policy: POLICY, to: Policy::default() });
    machine.set_members(POLICY, vec![endpoint()]);
    let spec = EndpointSpec { policies: PolicySet::of(POLICY) };
    machine.tell(Event::EndpointUp { endpoint: ENDPOINT, spec });
    machine
}

/// A ticket that waits, as the core's holding a request leaves it.
fn hold(machine: &Arc<Machine>) -> Ticket {
    let (sender, receiver) = oneshot::channel();
    let asker = Asker { request: HELD, policy: POLICY, narrowed: false };
    let waiting = Waiting { asker, since: Time::ZERO, answer: sender };
    machine.lock().held.insert(HELD, waiting);
    Ticket::held(Held::new(Arc::clone(machine), HELD, receiver))
}

/// Has the core dispatch the held request now, as an event of somebody else's would.
fn dispatch(machine: &Arc<Machine>) {
    machine.tell(Event::Arrived { request: HELD, facts: RequestFacts::unknown(POLICY) });
}

fn in_flight(machine: &Arc<Machine>) -> u32 {
    machine.endpoints(POLICY, &[ENDPOINT]).first().map_or(0, |endpoint| endpoint.vitals.in_flight())
}

fn poll(future: std::pin::Pin<&mut impl Future<Output = Answer>>) -> Poll<Answer> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_held_request_gets_its_answer_later() {
    let machine = machine();
    let mut placed = std::pin::pin!(hold(&machine).placed());
    assert!(poll(placed.as_mut()).is_pending());
    dispatch(&machine);
    let Poll::Ready(Ok(guard)) = poll(placed.as_mut()) else { panic!("no answer") };
    assert_eq!((guard.request(), in_flight(&machine)), (HELD, 1));
    drop(guard);
    assert_eq!(in_flight(&machine), 0);
}

#[test]
fn a_ticket_dropped_while_held_withdraws_its_request() {
    let machine = machine();
    let ticket = hold(&machine);
    drop(ticket);
    assert!(machine.lock().held.is_empty());
    // The core dispatches it all the same, as if the two had crossed: it is given back at once.
    dispatch(&machine);
    assert_eq!(in_flight(&machine), 0);
    assert!(machine.lock().orphans.is_empty());
}

#[test]
fn a_ticket_dropped_with_its_answer_on_the_way_is_counted_out() {
    let machine = machine();
    let ticket = hold(&machine);
    dispatch(&machine);
    assert_eq!(in_flight(&machine), 1);
    drop(ticket);
    assert_eq!(in_flight(&machine), 0);
}

#[test]
fn a_wait_that_is_broken_off_is_counted_out() {
    let machine = machine();
    {
        let mut placed = std::pin::pin!(hold(&machine).placed());
        assert!(poll(placed.as_mut()).is_pending());
    }
    assert!(machine.lock().held.is_empty());
    assert_eq!(in_flight(&machine), 0);
}

#[test]
fn a_leaving_endpoint_goes_with_its_last_request() {
    let machine = machine();
    let Some(Ok(_)) = machine.place(RequestFacts::unknown(POLICY), false).answer() else {
        panic!("not placed")
    };
    let ticket = machine.place(RequestFacts::unknown(POLICY), false);
    let Some(Ok(placed)) = ticket.answer() else { panic!("not placed") };
    machine.retire(ENDPOINT, &placed.endpoint().vitals);
    assert_eq!(machine.endpoints(POLICY, &[ENDPOINT]).len(), 1);
    drop(ticket);
    assert!(machine.endpoints(POLICY, &[ENDPOINT]).is_empty());
    assert!(machine.lock().leaving.is_empty());
}

#[test]
fn only_a_limit_that_the_door_set_is_named_in_a_rejection() {
    #[track_caller]
    fn check(narrowed: bool, expected: Rejection) {
        let machine = machine();
        let subset = |id| Some([id].into());
        let gone = RequestFacts { subset: subset(EndpointId(9)), ..RequestFacts::unknown(POLICY) };
        let Some(Err(found)) = machine
            .place(gone, narrowed)
            .answer()
            .map(|answer| answer.as_ref().map(|_| ()).map_err(|it| *it))
        else {
            panic!("placed");
        };
        assert_eq!(found, expected);
        let here = RequestFacts { subset: subset(ENDPOINT), ..RequestFacts::unknown(POLICY) };
        let Poll::Ready(Ok(placed)) = poll(std::pin::pin!(machine.place(here, narrowed).placed())) else {
            panic!("not placed");
        };
        machine.retire(ENDPOINT, &placed.endpoint().vitals.clone());
        let Poll::Ready(Err(found)) =
            poll(std::pin::pin!(placed.failed(FailureCause::Connect, true).placed()))
        else {
            panic!("placed again");
        };
        assert_eq!(found, expected);
    }
    check(true, Rejection::NoReadyEndpoint);
    check(false, Rejection::EmptySubset);
}
