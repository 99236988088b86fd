//! Routes: from a request's head to a pool, by the precedence rules of the Gateway API.

mod action;
mod redirect;
mod request;
mod route_match;
mod table;

pub use action::{Filter, Forward, HeaderChange, PathRewrite, Redirect, RouteAction};
pub(crate) use redirect::{ListenerRedirect, RedirectRule};
pub use request::RouteRequest;
pub(crate) use route_match::{HeaderRule, PathRule, Pattern, RouteMatch, TextRule};
pub use table::RouteTable;
pub(crate) use table::{Action, Entry, HostPattern, ResolvedBackend, TableBuilder};
