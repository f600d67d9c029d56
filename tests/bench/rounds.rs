//! Floor and mailroom in turn, some rounds of it.

use anyhow::Result;

use crate::figure::{Figure, Measured, Rates};
use crate::ground::{Handler, ROUNDS};

/// Floor, native handler and component in turn; the figures `of` the two handlers. The component's aim is its
/// ratio to the native one.
pub(crate) async fn both_handlers(
    of: [&'static str; 2],
    floor: impl AsyncFn() -> Result<f64>,
    mailroom: impl AsyncFn(Handler) -> Result<f64>,
) -> Result<Vec<Figure>> {
    let (mut native, mut component) = (Rates::aiming_at(0.5), Rates::aiming_at(0.7));
    for _ in 0..ROUNDS {
        let floor = floor().await?;
        native.add(mailroom(Handler::Native).await?, floor);
        component.add(mailroom(Handler::Component).await?, floor);
    }
    component.native = Some(native.mailroom);
    let figure = |of, rates| Figure { of, is: Measured::Rates(rates) };
    let [of_native, of_component] = of;
    Ok(vec![figure(of_native, native), figure(of_component, component)])
}
