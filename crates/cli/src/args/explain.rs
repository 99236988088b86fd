//! The arguments of `pointsman explain`.

use clap::Args;
use http::Uri;

#[derive(Debug, Args)]
#[command(after_help = "\
The server must run with --decisions. Each placement of the request is a table of the candidates, cheapest first, with
the chosen one marked. Costs of the default rule are seconds, the sum of the delays in the columns before; docs/placement.md
explains them.

Exit status: 0, or 1 when the server has no decisions of the request.

Examples:
  pointsman explain 1234                                        by the number in the server's log
  pointsman explain 5f0c6e0c-7f0e-4a6f --admin http://10.0.0.7:9090  by the client's x-request-id")]
pub(crate) struct ExplainArgs {
    /// The request's x-request-id header, or its number in the server's log
    #[arg(value_name = "REQUEST-ID")]
    pub(crate) request: String,
    /// The server's admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub(crate) admin: Uri,
    /// Print the decisions as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
