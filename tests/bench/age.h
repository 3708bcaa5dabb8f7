/*
 * age: how old a frame is when its last byte arrives. Included by sink.c.
 *
 * The DTS (or PTS) of a video PES is the monotonic clock of this machine in ticks of 90 kHz; a frame's last
 * byte is the last one that arrived before the next PES starts. ISO/IEC 13818-1 2.4.3.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TS_BYTES = 188, INPUT_BYTES_MAX = 256 << 10 };

struct age_reader {
    uint8_t input[INPUT_BYTES_MAX];
    size_t input_bytes;
    int pid; /* -1 until the first video PES */
    bool in_frame;
    uint64_t frame_ticks;
    double last_byte_s;
    uint64_t unreadable; /* bytes that were neither `$` frames nor TS packets */
};

struct ages {
    double *ms;
    size_t count, capacity;
};

static void ages_add(struct ages *ages, double ms) {
    if (ages->count == ages->capacity) {
        ages->capacity = ages->capacity ? 2 * ages->capacity : 1 << 16;
        ages->ms = realloc(ages->ms, ages->capacity * sizeof *ages->ms);
        if (!ages->ms)
            exit(1);
    }
    ages->ms[ages->count++] = ms;
}

static uint64_t time_ticks(const uint8_t *field) {
    return (uint64_t)(field[0] >> 1 & 7) << 30 | (uint64_t)field[1] << 22 | (uint64_t)(field[2] >> 1) << 15 |
           (uint64_t)field[3] << 7 | field[4] >> 1;
}

static void end_frame(struct age_reader *reader, struct ages *ages) {
    uint64_t wrap = 1ULL << 33, arrived = (uint64_t)(reader->last_byte_s * 90000) % wrap;
    uint64_t age = (arrived - reader->frame_ticks) % wrap;
    if (reader->in_frame && ages)
        ages_add(ages, (age < wrap / 2 ? (double)age : (double)age - (double)wrap) / 90);
}

/* `ages` is NULL outside the measuring window. */
static void read_ts(struct age_reader *reader, const uint8_t *packet, double now_s, struct ages *ages) {
    int pid = (packet[1] & 0x1F) << 8 | packet[2];
    size_t payload = (packet[3] & 0x20) ? 5 + packet[4] : 4;
    if (!(packet[3] & 0x10) || payload >= TS_BYTES)
        return;
    if ((packet[1] & 0x40) && payload + 19 <= TS_BYTES && !memcmp(packet + payload, "\0\0\1", 3) &&
        (packet[payload + 3] & 0xF0) == 0xE0 && (packet[payload + 7] & 0x80)) {
        end_frame(reader, ages);
        bool has_dts = packet[payload + 7] & 0x40;
        reader->pid = pid;
        reader->in_frame = true;
        reader->frame_ticks = time_ticks(packet + payload + (has_dts ? 14 : 9));
    }
    if (pid == reader->pid)
        reader->last_byte_s = now_s;
}

static void read_rtp(struct age_reader *reader, const uint8_t *packet, size_t bytes, double now_s,
                     struct ages *ages) {
    for (size_t at = 12 + 4 * (size_t)(packet[0] & 15); at + TS_BYTES <= bytes; at += TS_BYTES)
        read_ts(reader, packet + at, now_s, ages);
}

/* Take bytes of a TCP stream: `$` frames and RTSP answers where `interleaved`, else TS packets. */
static void age_read(struct age_reader *reader, const uint8_t *data, size_t bytes, bool interleaved, double now_s,
                     struct ages *ages) {
    while (bytes) {
        size_t take = INPUT_BYTES_MAX - reader->input_bytes;
        if (take > bytes)
            take = bytes;
        memcpy(reader->input + reader->input_bytes, data, take);
        reader->input_bytes += take;
        data += take;
        bytes -= take;
        size_t at = 0, left;
        while ((left = reader->input_bytes - at) >= TS_BYTES) {
            const uint8_t *here = reader->input + at;
            size_t unit = 1;
            if (interleaved && here[0] == '$') {
                unit = 4 + (size_t)(here[2] << 8 | here[3]);
                if (unit > left)
                    break;
                if (!(here[1] & 1) && unit > 16)
                    read_rtp(reader, here + 4, unit - 4, now_s, ages);
            } else if (!interleaved && here[0] == 0x47) {
                unit = TS_BYTES;
                read_ts(reader, here, now_s, ages);
            } else
                reader->unreadable++;
            at += unit;
        }
        reader->input_bytes -= at;
        memmove(reader->input, reader->input + at, reader->input_bytes);
    }
}
