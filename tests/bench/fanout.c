/*
 * fanout: the C baseline. An epoll loop that does one `send` a frame to each viewer, and nothing else.
 *
 *     fanout --frames FILE [--port P] [--fps 30]
 *
 * FILE holds frames, each a 32-bit big-endian length and that many bytes in the layout of common/grid.py:
 * rows of `$` header, RTP header and 1 to 7 TS packets. They are sent in a loop, one every 1/fps seconds, to
 * whoever asks on the port that `ready PORT` names:
 *
 *     rtsp, TCP   one send a frame
 *     rtsp, UDP   one sendmsg a frame with UDP_SEGMENT (two or more for a frame over 64 kB)
 *     HTTP GET    one send a frame, of the TS packets alone
 *
 * It speaks just enough RTSP and HTTP for sink.c and for ffprobe. What a socket does not take of a frame is
 * finished as soon as it can be; until then that viewer's frames are dropped whole, and counted.
 *
 * What a muxer does once for everybody is done once for everybody: RTP numbers and clock, and the PTS and DTS,
 * which are the monotonic clock at the time of sending, so that sink.c can tell the age of what it gets.
 * TS continuity counters jump at the seam of the loop.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { TS_BYTES = 188, LEAD_BYTES = 16, INTERLEAVE_BYTES = 4, ROW_BYTES = LEAD_BYTES + 7 * TS_BYTES };
enum { DATAGRAM_BYTES = ROW_BYTES - INTERLEAVE_BYTES, DATAGRAMS_A_CALL_MAX = 65507 / DATAGRAM_BYTES };
enum { FRAMES_MAX = 100000, FRAME_BYTES_MAX = 16 << 20, REQUEST_BYTES_MAX = 4096, EVENTS_MAX = 256 };

/* One frame in the three shapes that leave the socket. stamp: where its PTS stands in `ts`, -1 for none. */
struct frame {
    uint8_t *rows, *datagrams, *ts;
    size_t rows_bytes, datagrams_bytes, ts_bytes, row_count;
    long stamp;
    bool stamp_has_dts;
};

enum kind { ASKING, RTSP_TCP, RTSP_UDP, HTTP };

struct viewer {
    int fd;
    enum kind kind;
    bool playing;
    const uint8_t *tail; /* what the socket did not take of a frame yet */
    size_t tail_bytes;
    struct sockaddr_in datagram_to;
    char request[REQUEST_BYTES_MAX + 1];
    size_t request_bytes;
    struct viewer *next, *previous;
};

static struct frame frames[FRAMES_MAX];
static size_t frame_count;
static struct viewer viewers = {.fd = -1, .next = &viewers, .previous = &viewers};
static int epoll_fd, udp_fd;
static uint16_t rtp_sequence, udp_port;
static uint64_t frames_sent, frames_dropped;
static volatile sig_atomic_t stopping;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void note_stop(int number) {
    (void)number;
    stopping = 1;
}

/* ---- frames ------------------------------------------------------------------------------------------ */

/* Find the PTS of the frame's first video PES, ISO/IEC 13818-1 2.4.3.6. */
static void find_stamp(struct frame *frame) {
    frame->stamp = -1;
    for (size_t at = 0; at + TS_BYTES <= frame->ts_bytes; at += TS_BYTES) {
        const uint8_t *packet = frame->ts + at;
        if (!(packet[1] & 0x40) || !(packet[3] & 0x10))
            continue;
        size_t pes = (packet[3] & 0x20) ? 5 + packet[4] : 4;
        if (pes + 19 > TS_BYTES || memcmp(packet + pes, "\0\0\1", 3) || (packet[pes + 3] & 0xF0) != 0xE0)
            continue;
        frame->stamp_has_dts = (packet[pes + 7] & 0xC0) == 0xC0;
        if (packet[pes + 7] & 0x80)
            frame->stamp = (long)(at + pes + 9);
        return;
    }
}

static void load(const char *path) {
    FILE *file = fopen(path, "rb");
    uint8_t length[4];
    if (!file)
        die(path);
    while (fread(length, 1, 4, file) == 4) {
        uint32_t bytes = (uint32_t)length[0] << 24 | length[1] << 16 | length[2] << 8 | length[3];
        struct frame *frame = &frames[frame_count++];
        if (frame_count == FRAMES_MAX || bytes > FRAME_BYTES_MAX || bytes < LEAD_BYTES + TS_BYTES) {
            fprintf(stderr, "fanout: %s: frame %zu of %u bytes\n", path, frame_count, bytes);
            exit(1);
        }
        frame->rows = malloc(bytes);
        frame->datagrams = malloc(bytes);
        frame->ts = malloc(bytes);
        frame->rows_bytes = bytes;
        if (fread(frame->rows, 1, bytes, file) != bytes)
            die(path);
        for (size_t at = 0; at < bytes; at += ROW_BYTES, frame->row_count++) {
            size_t row = bytes - at < ROW_BYTES ? bytes - at : ROW_BYTES;
            memcpy(frame->datagrams + frame->datagrams_bytes, frame->rows + at + INTERLEAVE_BYTES,
                   row - INTERLEAVE_BYTES);
            frame->datagrams_bytes += row - INTERLEAVE_BYTES;
            memcpy(frame->ts + frame->ts_bytes, frame->rows + at + LEAD_BYTES, row - LEAD_BYTES);
            frame->ts_bytes += row - LEAD_BYTES;
        }
        find_stamp(frame);
    }
    fclose(file);
    if (!frame_count) {
        fprintf(stderr, "fanout: %s holds no frame\n", path);
        exit(1);
    }
}

/* Five bytes of a 33-bit time, ISO/IEC 13818-1 2.4.3.7. `prefix` is the one before it, or 0 for PTS alone. */
static void put_time(uint8_t *to, uint8_t prefix, uint64_t ticks) {
    to[0] = (uint8_t)(prefix << 4 | ((ticks >> 29) & 0x0E) | 1);
    to[1] = (uint8_t)(ticks >> 22);
    to[2] = (uint8_t)(((ticks >> 14) & 0xFE) | 1);
    to[3] = (uint8_t)(ticks >> 7);
    to[4] = (uint8_t)(((ticks << 1) & 0xFE) | 1);
}

static void copy_stamp(struct frame *frame, long at, size_t bytes) {
    long packet = at / TS_BYTES, row = packet / 7;
    memcpy(frame->rows + at + (row + 1) * LEAD_BYTES, frame->ts + at, bytes);
    memcpy(frame->datagrams + at + (row + 1) * (LEAD_BYTES - INTERLEAVE_BYTES), frame->ts + at, bytes);
}

/* Give the frame its RTP numbers, clock, PTS and DTS: what a muxer does once for all viewers. */
static void number(struct frame *frame) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t time_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    uint64_t ticks = (time_us * 9 + 50) / 100;
    uint32_t clock = htonl((uint32_t)ticks);
    for (size_t row = 0; row < frame->row_count; row++) {
        uint16_t sequence = htons(rtp_sequence++);
        memcpy(frame->rows + row * ROW_BYTES + INTERLEAVE_BYTES + 2, &sequence, 2);
        memcpy(frame->rows + row * ROW_BYTES + INTERLEAVE_BYTES + 4, &clock, 4);
        memcpy(frame->datagrams + row * DATAGRAM_BYTES + 2, &sequence, 2);
        memcpy(frame->datagrams + row * DATAGRAM_BYTES + 4, &clock, 4);
    }
    if (frame->stamp < 0)
        return;
    put_time(frame->ts + frame->stamp, frame->stamp_has_dts ? 3 : 2, ticks);
    if (frame->stamp_has_dts)
        put_time(frame->ts + frame->stamp + 5, 1, ticks);
    copy_stamp(frame, frame->stamp, frame->stamp_has_dts ? 10 : 5);
}

/* ---- sending ----------------------------------------------------------------------------------------- */

static void close_viewer(struct viewer *viewer) {
    close(viewer->fd);
    viewer->next->previous = viewer->previous;
    viewer->previous->next = viewer->next;
    free(viewer);
}

static void watch(struct viewer *viewer, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = viewer};
    if (epoll_ctl(epoll_fd, operation, viewer->fd, &event))
        die("epoll_ctl");
}

/* Send as much as the socket takes; keep the rest as the viewer's tail. False when the viewer is gone. */
static bool send_some(struct viewer *viewer, const uint8_t *data, size_t bytes) {
    bool had_tail = viewer->tail_bytes > 0;
    ssize_t sent = send(viewer->fd, data, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR)
        return false;
    if (sent < 0)
        sent = 0;
    viewer->tail = data + sent;
    viewer->tail_bytes = bytes - (size_t)sent;
    if (had_tail != (viewer->tail_bytes > 0))
        watch(viewer, viewer->tail_bytes ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    return true;
}

static void send_datagrams(struct viewer *viewer, const struct frame *frame) {
    union {
        char bytes[CMSG_SPACE(sizeof(uint16_t))];
        struct cmsghdr align;
    } control = {0};
    size_t call_bytes_max = (size_t)DATAGRAMS_A_CALL_MAX * DATAGRAM_BYTES;
    for (size_t at = 0; at < frame->datagrams_bytes; at += call_bytes_max) {
        size_t left = frame->datagrams_bytes - at;
        struct iovec data = {frame->datagrams + at, left < call_bytes_max ? left : call_bytes_max};
        struct msghdr message = {.msg_name = &viewer->datagram_to,
                                 .msg_namelen = sizeof viewer->datagram_to,
                                 .msg_iov = &data,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof control.bytes};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_UDP;
        header->cmsg_type = UDP_SEGMENT;
        header->cmsg_len = CMSG_LEN(sizeof(uint16_t));
        *(uint16_t *)CMSG_DATA(header) = DATAGRAM_BYTES;
        if (sendmsg(udp_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            frames_dropped++;
            return;
        }
    }
    frames_sent++;
}

static void send_frame(struct frame *frame) {
    number(frame);
    for (struct viewer *viewer = viewers.next, *next; viewer != &viewers; viewer = next) {
        next = viewer->next;
        if (!viewer->playing)
            continue;
        if (viewer->kind == RTSP_UDP) {
            send_datagrams(viewer, frame);
            continue;
        }
        if (viewer->tail_bytes && !send_some(viewer, viewer->tail, viewer->tail_bytes)) {
            close_viewer(viewer);
            continue;
        }
        if (viewer->tail_bytes) {
            frames_dropped++;
            continue;
        }
        bool http = viewer->kind == HTTP;
        if (send_some(viewer, http ? frame->ts : frame->rows, http ? frame->ts_bytes : frame->rows_bytes))
            frames_sent++;
        else
            close_viewer(viewer);
    }
}

/* ---- requests ---------------------------------------------------------------------------------------- */

static bool answer(struct viewer *viewer, int cseq, const char *headers, const char *body) {
    char reply[2048];
    int bytes = snprintf(reply, sizeof reply, "RTSP/1.0 200 OK\r\nCSeq: %d\r\n%sContent-Length: %zu\r\n\r\n%s",
                         cseq, headers, strlen(body), body);
    return send(viewer->fd, reply, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL) == bytes;
}

static bool set_up(struct viewer *viewer, int cseq) {
    char headers[256];
    const char *ports = strcasestr(viewer->request, "client_port=");
    viewer->kind = ports ? RTSP_UDP : RTSP_TCP;
    if (ports) {
        socklen_t size = sizeof viewer->datagram_to;
        int port = atoi(ports + strlen("client_port="));
        if (getpeername(viewer->fd, (struct sockaddr *)&viewer->datagram_to, &size))
            return false;
        viewer->datagram_to.sin_port = htons((uint16_t)port);
        snprintf(headers, sizeof headers,
                 "Session: 1\r\nTransport: RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d\r\n", port,
                 port + 1, udp_port, udp_port + 1);
    } else
        snprintf(headers, sizeof headers,
                 "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n");
    return answer(viewer, cseq, headers, "");
}

/* Act on one whole request. False when the viewer is to be closed. */
static bool act(struct viewer *viewer) {
    const char *request = viewer->request, *field = strcasestr(request, "\r\nCSeq:");
    int cseq = field ? atoi(field + 7) : 0;
    if (!strncmp(request, "GET /", 5)) {
        static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n";
        viewer->kind = HTTP;
        viewer->playing = true;
        return send(viewer->fd, head, sizeof head - 1, MSG_NOSIGNAL) == sizeof head - 1;
    }
    if (viewer->playing)
        return strncmp(request, "TEARDOWN", 8) != 0; /* a keepalive; an answer could split a frame */
    if (!strncmp(request, "DESCRIBE", 8))
        return answer(viewer, cseq, "Content-Type: application/sdp\r\n",
                      "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=fanout\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                      "a=control:*\r\nm=video 0 RTP/AVP 33\r\na=rtpmap:33 MP2T/90000\r\na=control:stream=0\r\n");
    if (!strncmp(request, "SETUP", 5))
        return set_up(viewer, cseq);
    if (!strncmp(request, "PLAY", 4)) {
        viewer->playing = viewer->kind != ASKING;
        return answer(viewer, cseq, "Session: 1\r\n", "");
    }
    return answer(viewer, cseq, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", "");
}

static bool read_requests(struct viewer *viewer) {
    ssize_t got = recv(viewer->fd, viewer->request + viewer->request_bytes,
                       REQUEST_BYTES_MAX - viewer->request_bytes, MSG_DONTWAIT);
    if (got <= 0)
        return got < 0 && (errno == EAGAIN || errno == EINTR);
    viewer->request_bytes += (size_t)got;
    viewer->request[viewer->request_bytes] = 0;
    for (char *end; (end = strstr(viewer->request, "\r\n\r\n"));) {
        char *rest = end + 4;
        *end = 0;
        if (!act(viewer))
            return false;
        viewer->request_bytes -= (size_t)(rest - viewer->request);
        memmove(viewer->request, rest, viewer->request_bytes + 1);
    }
    return viewer->request_bytes < REQUEST_BYTES_MAX;
}

static void accept_viewers(int listen_fd) {
    for (int fd; (fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        struct viewer *viewer = calloc(1, sizeof *viewer);
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        viewer->fd = fd;
        viewer->next = &viewers;
        viewer->previous = viewers.previous;
        viewers.previous->next = viewer;
        viewers.previous = viewer;
        watch(viewer, EPOLLIN, EPOLL_CTL_ADD);
    }
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

static int bound(int type, uint16_t *port) {
    int fd = socket(AF_INET, type | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof at;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || getsockname(fd, (struct sockaddr *)&at, &size))
        die("bind");
    *port = ntohs(at.sin_port);
    return fd;
}

int main(int argc, char **argv) {
    const char *path = NULL;
    uint16_t port = 0;
    double fps = 30;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--frames"))
            path = argv[i + 1];
        else if (!strcmp(argv[i], "--port"))
            port = (uint16_t)atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--fps"))
            fps = atof(argv[i + 1]);
    }
    if (!path || fps <= 0) {
        fprintf(stderr, "usage: fanout --frames FILE [--port P] [--fps 30]\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGTERM, note_stop);
    signal(SIGINT, note_stop);
    load(path);

    int listen_fd = bound(SOCK_STREAM, &port);
    udp_fd = bound(SOCK_DGRAM, &udp_port);
    epoll_fd = epoll_create1(0);
    long interval_ns = (long)(1e9 / fps);
    struct itimerspec every = {{interval_ns / 1000000000, interval_ns % 1000000000}, {0, 1}};
    int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct viewer listener = {.fd = listen_fd}, timer = {.fd = timer_fd};
    if (listen(listen_fd, 4096) || timerfd_settime(timer_fd, 0, &every, NULL))
        die("fanout");
    watch(&listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(&timer, EPOLLIN, EPOLL_CTL_ADD);
    printf("ready %d\n", port);
    fflush(stdout);

    size_t turn = 0;
    while (!stopping) {
        struct epoll_event events[EVENTS_MAX];
        int count = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
        bool due = false;
        for (int i = 0; i < count; i++) {
            struct viewer *viewer = events[i].data.ptr;
            uint64_t expirations;
            bool alive = true;
            if (viewer == &listener)
                accept_viewers(listen_fd);
            else if (viewer == &timer)
                due = read(timer_fd, &expirations, sizeof expirations) > 0;
            else {
                if (events[i].events & (EPOLLERR | EPOLLHUP))
                    alive = false;
                if (alive && (events[i].events & EPOLLOUT) && viewer->tail_bytes)
                    alive = send_some(viewer, viewer->tail, viewer->tail_bytes);
                if (alive && (events[i].events & EPOLLIN))
                    alive = read_requests(viewer);
                if (!alive)
                    close_viewer(viewer);
            }
        }
        if (due) /* after the requests: a viewer closed by a frame may have an event of its own above */
            send_frame(&frames[turn++ % frame_count]);
    }
    fprintf(stderr, "fanout: frames_sent=%lu frames_dropped=%lu\n", frames_sent, frames_dropped);
    return 0;
}
