//! `cutover history`: deployments, newest first.

use cutover_api::deployment::Deployment;

use crate::render::Audience;
use crate::render::style::{FAINT, PLAIN};
use crate::render::table::{Cell, Need, Table};
use crate::render::text::{clean, short_tag};
use crate::render::time::{Clock, span};
use crate::render::words;

/// The beginning of an id that a narrow terminal gets: as far as the millisecond goes. Commands take it as well.
const SHORT_ID_LEN: usize = 13;

/// The deployments, a line each.
pub(crate) fn table(deployments: &[Deployment], audience: Audience, clock: &Clock) -> String {
    if deployments.is_empty() {
        return "no deployment is recorded\n".to_owned();
    }
    let whole = listed(deployments, usize::MAX, audience, clock);
    match audience {
        Audience::Person { columns } if !whole.fits(columns) => {
            listed(deployments, SHORT_ID_LEN, audience, clock).render(audience)
        }
        _ => whole.render(audience),
    }
}

/// The deployments with so many characters of their ids.
fn listed(deployments: &[Deployment], id_len: usize, audience: Audience, clock: &Clock) -> Table {
    let mut table = Table::new(&[
        ("DEPLOYMENT", Need::Always),
        ("SERVICE", Need::Always),
        ("TAG", Need::Always),
        ("OUTCOME", Need::Always),
        ("STARTED", Need::Always),
        ("OUTAGE", Need::WhereItFits),
        ("TOOK", Need::WhereItFits),
        ("BY", Need::WhereItFits),
    ]);
    for deployment in deployments {
        let tag = match audience {
            Audience::Person { .. } => short_tag(&deployment.image_sha),
            Audience::Pipe => clean(&deployment.image_sha),
        };
        let id: String = clean(&deployment.id).chars().take(id_len).collect();
        let optional = |milliseconds: Option<u64>| milliseconds.map(span).unwrap_or_default();
        table.row(vec![
            Cell::new(id, FAINT),
            Cell::new(clean(&deployment.service), PLAIN),
            Cell::new(tag, PLAIN),
            Cell::new(
                words::status(deployment.status),
                words::style(deployment.status),
            ),
            Cell::new(clock.when(deployment.started_at), PLAIN),
            Cell::new(optional(deployment.outage_ms), PLAIN),
            Cell::new(optional(deployment.duration_ms), PLAIN),
            Cell::new(clean(&deployment.actor), FAINT),
        ]);
    }
    table
}
