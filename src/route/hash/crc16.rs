//! CRC-16 of CCITT (polynomial 0x1021, start 0, as XMODEM), but never cut to 16 bits: what is
//! shifted out of the low half stays above it. So only keys of one byte have the value that Redis
//! Cluster's CRC-16 gives; of longer ones the low half agrees.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        let mut crc = (index as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[index] = crc as u32;
        index += 1;
    }
    table
}

pub(super) fn hash(key: &[u8]) -> u32 {
    key.iter()
        .fold(0, |crc, byte| crc << 8 ^ TABLE[((crc >> 8 ^ u32::from(*byte)) & 0xff) as usize])
}
