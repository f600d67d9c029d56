//! Messages whose deliveries were lost with their hosts. A row counts them; the count of one that was lost while it ran
//! alone goes beyond what any other reaches.

/// A message that lost so many deliveries with their hosts runs alone from then on. No more are counted, but that
/// of a message which ran alone.
pub(crate) const LOST_MAX: u32 = 2;

/// Whether nothing else is to run beside a message with so many.
pub(crate) fn runs_alone(crashes: u32) -> bool {
    crashes >= LOST_MAX
}

/// Whether a message with so many ran alone when its process died.
pub(crate) fn killed_its_process(crashes: u32) -> bool {
    crashes > LOST_MAX
}
