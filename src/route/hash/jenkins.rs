//! Bob Jenkins' lookup3 (`hashlittle`, start value 13), of which the third word is used.

use super::word;

const START: u32 = 13;

pub(super) fn hash(key: &[u8]) -> u32 {
    hash_from(START, key)
}

fn hash_from(start: u32, key: &[u8]) -> u32 {
    // Lengths are 32 bits wide in twemproxy.
    let start = 0xdead_beef_u32.wrapping_add(key.len() as u32).wrapping_add(start);
    let mut state = [start; 3];
    let mut rest = key;
    // The last block, even a whole one, is mixed otherwise than those before it.
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        add(&mut state, block);
        mix(&mut state);
        rest = after;
    }
    if !rest.is_empty() {
        add(&mut state, rest);
        finish(&mut state);
    }
    state[2]
}

/// A block of at most 12 bytes, padded with zeros.
fn add(state: &mut [u32; 3], block: &[u8]) {
    for (value, bytes) in state.iter_mut().zip(block.chunks(4)) {
        *value = value.wrapping_add(word(bytes));
    }
}

fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    *state = [a, b, c];
}

fn finish(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    *state = [a, b, c];
}

#[cfg(test)]
mod tests {
    use super::hash_from;

    /// The vectors that lookup3's author published.
    #[test]
    fn published_vectors() {
        assert_eq!(hash_from(0, b""), 0xdead_beef);
        assert_eq!(hash_from(0xdead_beef, b""), 0xbd5b_7dde);
        assert_eq!(hash_from(0, b"Four score and seven years ago"), 0x1777_0551);
        assert_eq!(hash_from(1, b"Four score and seven years ago"), 0xcd62_8161);
    }

    /// A whole last block is not mixed as those before it. The low 21 bits were read off a real
    /// nutcracker, by modula over eight servers of weight 8^n.
    #[test]
    fn a_key_of_one_block() {
        assert_eq!(super::hash(b"exactly12byt"), 0x7b83_5f9e);
    }
}
