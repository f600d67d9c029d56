//! Floor and mailroom in turn, some rounds of it.

use anyhow::Result;

use crate::figure::{Figure, Measured, Rates};
use crate::ground::{Handler, ROUNDS};

/// Floor, native handler and component, with new and with reused instances, in turn; the figures `of` the three.
/// The component's aim is its ratio to the native one.
pub(crate) async fn all_handlers(
    of: [&'static str; 3],
    floor: impl AsyncFn() -> Result<f64>,
    mailroom: impl AsyncFn(Handler) -> Result<f64>,
) -> Result<Vec<Figure>> {
    let (mut native, mut component) = (Rates::aiming_at(0.5), Rates::aiming_at(0.7));
    let mut reused = component;
    for _ in 0..ROUNDS {
        let floor = floor().await?;
        native.add(mailroom(Handler::Native).await?, floor);
        component.add(mailroom(Handler::Component).await?, floor);
        reused.add(mailroom(Handler::Reused).await?, floor);
    }
    component.native = Some(native.mailroom);
    reused.native = Some(native.mailroom);
    let figure = |(of, rates)| Figure { of, is: Measured::Rates(rates) };
    Ok(of.into_iter().zip([native, component, reused]).map(figure).collect())
}
