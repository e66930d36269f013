//! Metrics as an event file of TensorBoard.
//!
//! A file is a row of TFRecords (length, its checksum, an `Event` of protocol buffers, its checksum), see
//! <https://www.tensorflow.org/tutorials/load_data/tfrecord>. Only `wall_time`, `step`, `file_version` and the scalar
//! values of a summary are needed. Clock times would make the bytes differ between runs, so the wall time of an event
//! is its step in seconds.

use crate::harness::checkpoint::Metric;

/// The whole event file of a run.
pub(crate) fn events(metrics: &[Metric]) -> Vec<u8> {
    let mut file = Vec::new();
    record(&mut file, &bytes(3, b"brain.Event:2"));
    for metric in metrics {
        let values = [
            ("loss/train", Some(metric.train_loss)),
            ("loss/validation", Some(metric.validation_loss)),
            ("gradient_norm", Some(metric.gradient_norm)),
            ("learning_rate", Some(metric.learning_rate)),
            ("score/validation", metric.validation_score),
        ];
        let known = values.iter().filter_map(|(tag, value)| Some(scalar(tag, (*value)?)));
        let summary: Vec<u8> = known.flat_map(|value| bytes(1, &value)).collect();
        let mut event = double(1, metric.step as f64);
        event.extend(key(2, 0));
        event.extend(varint(metric.step));
        event.extend(bytes(5, &summary));
        record(&mut file, &event);
    }
    file
}

/// `Summary.Value` with a tag and a simple value.
fn scalar(tag: &str, value: f64) -> Vec<u8> {
    let mut out = bytes(1, tag.as_bytes());
    out.extend(key(2, 5));
    out.extend((value as f32).to_le_bytes());
    out
}

fn record(file: &mut Vec<u8>, event: &[u8]) {
    let length = (event.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length).to_le_bytes());
    file.extend(event);
    file.extend(masked(event).to_le_bytes());
}

/// CRC-32C, rotated and shifted as TFRecords have it.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A field's number and wire type: 0 varint, 1 eight bytes, 2 counted bytes, 5 four bytes.
fn key(field: u64, wire: u64) -> Vec<u8> {
    varint(field << 3 | wire)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [key(field, 1), value.to_le_bytes().to_vec()].concat()
}

fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    [key(field, 2), varint(content.len() as u64), content.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `tensorboard_events.bin` was written by TensorBoard's own `RecordWriter` and `Event`.
    #[test]
    fn bytes_are_those_of_tensorboard() {
        let metric = |step, train_loss| Metric {
            step,
            train_loss,
            validation_loss: 0.25,
            gradient_norm: 2.0,
            learning_rate: 1e-3,
            validation_score: None,
        };
        let expected = include_bytes!("../../tests/data/tensorboard_events.bin");
        assert_eq!(events(&[metric(5, 0.5), metric(300, 0.125)]), expected);
    }
}
