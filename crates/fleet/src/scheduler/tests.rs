use std::task::{Context, Poll, Waker};

use pointsman_config::{AppProtocol, EndpointAddress, EngineAccess, Timeouts};
use pointsman_core::{EndpointSpec, PoolPolicy, PoolSet};
use pointsman_telemetry::{BuildInfo, Metrics};

use super::*;
use crate::connect::Connector;

const POOL: PoolId = PoolId(0);
const ENDPOINT: EndpointId = EndpointId(7);
const HELD: RequestId = RequestId(1_000);

fn endpoint() -> Arc<PoolEndpoint> {
    let pool = Metrics::new(&BuildInfo { version: "0.0.0", commit: "" }).pool("default/a");
    Arc::new(PoolEndpoint {
        id: ENDPOINT,
        address: EndpointAddress {
            host: "127.0.0.1".into(),
            port: 1,
            protocol: AppProtocol::Http,
            engine: None,
            metrics: pointsman_config::MetricsPage::default(),
        },
        timeouts: Timeouts::default(),
        activity: Arc::default(),
        authority: "127.0.0.1:1".into(),
        connector: Arc::new(Connector::new(&EngineAccess::default()).unwrap()),
        series: pool.endpoint("127.0.0.1:1"),
        pool,
        served: Arc::default(),
    })
}

fn scheduler() -> Arc<SchedulerHandle> {
    let config = SchedulerConfig { seed: 1, decisions: false };
    let scheduler = SchedulerHandle::new(0, config, Clock::start(), Arc::default(), None, None);
    scheduler.tell(Event::PoolPolicyChanged { pool: POOL, policy: PoolPolicy::default() });
    scheduler.set_members(POOL, vec![endpoint()]);
    let spec = EndpointSpec { pools: PoolSet::of(POOL) };
    scheduler.tell(Event::EndpointUp { endpoint: ENDPOINT, spec });
    scheduler
}

fn place(scheduler: &Arc<SchedulerHandle>, facts: RequestFacts, narrowed: bool) -> Ticket {
    scheduler.place(facts, narrowed, |_, _| unreachable!("there is no decision log"))
}

/// The ticket of a request that the core holds.
fn hold(scheduler: &Arc<SchedulerHandle>) -> Ticket {
    let (sender, receiver) = oneshot::channel();
    let caller = Caller { request: HELD, pool: POOL, narrowed: false, asked_at: Time::ZERO };
    scheduler.lock().pending.insert(HELD, PendingRequest { caller, sender });
    Ticket::pending(PendingTicket::new(Arc::clone(scheduler), HELD, receiver))
}

/// Makes the core dispatch the held request, as another request's event would.
fn dispatch(scheduler: &Arc<SchedulerHandle>) {
    scheduler.tell(Event::Arrived { request: HELD, facts: RequestFacts::unknown(POOL) });
}

fn in_flight(scheduler: &Arc<SchedulerHandle>) -> u32 {
    scheduler.endpoints(POOL, &[ENDPOINT]).first().map_or(0, |endpoint| endpoint.activity.in_flight())
}

fn poll(future: std::pin::Pin<&mut impl Future<Output = PlacementResult>>) -> Poll<PlacementResult> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_held_request_gets_its_result_later() {
    let scheduler = scheduler();
    let mut placed = std::pin::pin!(hold(&scheduler).placed());
    assert!(poll(placed.as_mut()).is_pending());
    dispatch(&scheduler);
    let Poll::Ready(Ok(guard)) = poll(placed.as_mut()) else { panic!("no result") };
    assert_eq!((guard.request(), in_flight(&scheduler)), (HELD, 1));
    drop(guard);
    assert_eq!(in_flight(&scheduler), 0);
}

#[test]
fn a_ticket_dropped_while_held_withdraws_its_request() {
    let scheduler = scheduler();
    let ticket = hold(&scheduler);
    drop(ticket);
    assert!(scheduler.lock().pending.is_empty());
    // The core dispatches it nevertheless, as when dispatch and withdrawal cross: it is aborted at once.
    dispatch(&scheduler);
    assert_eq!(in_flight(&scheduler), 0);
    assert!(scheduler.lock().unclaimed.is_empty());
}

#[test]
fn a_ticket_dropped_with_its_result_in_the_channel_is_counted_out() {
    let scheduler = scheduler();
    let ticket = hold(&scheduler);
    dispatch(&scheduler);
    assert_eq!(in_flight(&scheduler), 1);
    drop(ticket);
    assert_eq!(in_flight(&scheduler), 0);
}

#[test]
fn a_cancelled_wait_is_counted_out() {
    let scheduler = scheduler();
    {
        let mut placed = std::pin::pin!(hold(&scheduler).placed());
        assert!(poll(placed.as_mut()).is_pending());
    }
    assert!(scheduler.lock().pending.is_empty());
    assert_eq!(in_flight(&scheduler), 0);
}

#[test]
fn a_draining_endpoint_goes_down_with_its_last_request() {
    let scheduler = scheduler();
    let Some(Ok(_)) = place(&scheduler, RequestFacts::unknown(POOL), false).result() else {
        panic!("not placed")
    };
    let ticket = place(&scheduler, RequestFacts::unknown(POOL), false);
    let Some(Ok(_)) = ticket.result() else { panic!("not placed") };
    scheduler.drain(ENDPOINT);
    assert!(scheduler.is_draining(ENDPOINT));
    assert_eq!(scheduler.endpoints(POOL, &[ENDPOINT]).len(), 1);
    drop(ticket);
    assert!(scheduler.endpoints(POOL, &[ENDPOINT]).is_empty());
    assert!(!scheduler.is_draining(ENDPOINT));
}

#[test]
fn a_rejection_names_a_subset_only_where_the_door_set_one() {
    #[track_caller]
    fn check(narrowed: bool, expected: Rejection) {
        let scheduler = scheduler();
        let subset = |id| Some([id].into());
        let gone = RequestFacts { subset: subset(EndpointId(9)), ..RequestFacts::unknown(POOL) };
        let Some(Err(found)) = place(&scheduler, gone, narrowed)
            .result()
            .map(|result| result.as_ref().map(|_| ()).map_err(|it| *it))
        else {
            panic!("placed");
        };
        assert_eq!(found, expected);
        let here = RequestFacts { subset: subset(ENDPOINT), ..RequestFacts::unknown(POOL) };
        let Poll::Ready(Ok(placed)) = poll(std::pin::pin!(place(&scheduler, here, narrowed).placed())) else {
            panic!("not placed");
        };
        scheduler.drain(ENDPOINT);
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

#[test]
fn a_synchronous_caller_gets_its_ticket_back_while_the_request_is_held() {
    let scheduler = scheduler();
    let Err(ticket) = hold(&scheduler).try_placed() else { panic!("placed") };
    dispatch(&scheduler);
    let Ok(Ok(guard)) = ticket.try_placed() else { panic!("no result") };
    assert_eq!((guard.request(), in_flight(&scheduler)), (HELD, 1));
    drop(guard);
    assert_eq!(in_flight(&scheduler), 0);
}
