//! Batch after batch of images, read and prepared beside whatever is done with them.

use std::sync::mpsc::{Receiver, sync_channel};

use resnest::Classifier;

use super::inputs::Input;

/// The images of one batch, and what was made of each.
pub type Batch<'a, T> = (&'a [Input], Vec<T>);

/// Prepares `inputs` on the classifier's threads, batch by batch and in order, while `consume` takes them; it may stop
/// before the last. Never more than three batches are in memory.
pub fn run<'a, T: Send, R>(
    classifier: &Classifier,
    inputs: &'a [Input],
    batch_size: usize,
    prepare: impl Fn(&Input) -> T + Sync,
    consume: impl FnOnce(Receiver<Batch<'a, T>>) -> R,
) -> R {
    let prepare = &prepare;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        scope.spawn(move || {
            for inputs in inputs.chunks(batch_size) {
                let prepared = classifier.prepare_each(inputs, prepare);
                if sender.send((inputs, prepared)).is_err() {
                    return;
                }
            }
        });
        consume(receiver)
    })
}
