/*
 * viewer: one viewer's way from connect to the first byte of media, without ever blocking. Included by sink.c.
 *
 *     CONNECTING → OPTIONS → DESCRIBE → SETUP → PLAY → WAITING → PLAYING          RTSP
 *     CONNECTING → GET → WAITING → PLAYING                                        HTTP
 *
 * Each state but the last two waits for one answer. Media may come before the answer to PLAY.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum { ANSWER_BYTES_MAX = 72 << 10, URL_BYTES_MAX = 512, UDP_PORT_FIRST = 20000, UDP_PORT_LAST = 32766 };

enum transport { RTSP_TCP, RTSP_UDP, HTTP };
enum state { IDLE, CONNECTING, OPTIONS, DESCRIBE, SETUP, PLAY, GET, WAITING, PLAYING, DEAD };

static const char *const state_names[] = {"idle", "connect", "OPTIONS", "DESCRIBE", "SETUP",
                                          "PLAY", "GET",     "media",   "playing",  "dead"};

struct options {
    enum transport transport;
    const char *path;
    int port, viewers, at_once, sweep_us, pid_count, pids[256];
    double warm_s, seconds, fps, stall_s, join_s;
    bool age, gro;
};

struct viewer {
    enum state state;
    int control_fd, rtp_fd, rtcp_fd, udp_port;
    char url[URL_BYTES_MAX], base[URL_BYTES_MAX], track[2 * URL_BYTES_MAX], session[64];
    uint8_t *answer; /* only while joining */
    size_t answer_bytes;
    double connect_s, first_byte_s, last_byte_s, gap_max_s;
    uint64_t bytes, bytes_before, late_frames, lost_packets;
    int32_t sequence; /* of the last RTP packet over UDP; -1 before it */
    struct age_reader *age;
};

static struct options options;
static char first_error[256];

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void viewer_dies(struct viewer *viewer, const char *why, const char *detail) {
    if (!first_error[0]) {
        snprintf(first_error, sizeof first_error, "%s: %s %.120s", state_names[viewer->state], why, detail);
        for (char *c = first_error; *c; c++)
            if (*c < ' ' || *c == '"' || *c == '\\')
                *c = ' ';
    }
    viewer->state = DEAD;
    close(viewer->control_fd);
    if (viewer->rtp_fd >= 0) {
        close(viewer->rtp_fd);
        close(viewer->rtcp_fd);
    }
    viewer->control_fd = viewer->rtp_fd = viewer->rtcp_fd = -1;
    free(viewer->answer);
    viewer->answer = NULL;
}

__attribute__((format(printf, 3, 4))) static void ask(struct viewer *viewer, enum state next, const char *format,
                                                      ...) {
    char request[4 * URL_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(request, sizeof request, format, arguments);
    va_end(arguments);
    viewer->state = next;
    if (send(viewer->control_fd, request, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        viewer_dies(viewer, "request not sent", strerror(errno));
}

static int udp_socket(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), bytes = 1 << 20, on = 1;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at)) {
        close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (options.gro)
        setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
    return fd;
}

/* Two neighbouring ports, the first one even, RFC 3550 11; below the range that connections take theirs from. */
static bool open_udp(struct viewer *viewer) {
    static int port = UDP_PORT_FIRST;
    for (; port < UDP_PORT_LAST; port += 2) {
        viewer->rtp_fd = udp_socket(port);
        viewer->rtcp_fd = viewer->rtp_fd < 0 ? -1 : udp_socket(port + 1);
        if (viewer->rtcp_fd >= 0) {
            viewer->udp_port = port;
            port += 2;
            return true;
        }
        if (viewer->rtp_fd >= 0)
            close(viewer->rtp_fd);
    }
    viewer->rtp_fd = -1;
    return false;
}

/* Start the connection. It is made when the socket is writable. */
static void viewer_connects(struct viewer *viewer, int index, int streams) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options.port)};
    const char *number = strstr(options.path, "%d");
    int before = number ? (int)(number - options.path) : (int)strlen(options.path), on = 1;
    char digits[16] = "";
    if (number)
        snprintf(digits, sizeof digits, "%d", index % streams);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    snprintf(viewer->url, sizeof viewer->url, "%s://127.0.0.1:%d%.*s%s%s",
             options.transport == HTTP ? "http" : "rtsp", options.port, before, options.path, digits,
             number ? number + 2 : "");
    viewer->answer = malloc(ANSWER_BYTES_MAX + 1);
    viewer->connect_s = now_s();
    viewer->state = CONNECTING;
    viewer->control_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(viewer->control_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(viewer->control_fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        viewer_dies(viewer, "no connection", strerror(errno));
}

static void viewer_connected(struct viewer *viewer) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(viewer->control_fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error)
        viewer_dies(viewer, "no connection", strerror(error));
    else if (options.transport == HTTP)
        ask(viewer, GET, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: sink\r\n\r\n",
            strchr(viewer->url + 7, '/'), options.port);
    else
        ask(viewer, OPTIONS, "OPTIONS %s RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: sink\r\n\r\n", viewer->url);
}

/* The value of a header or SDP attribute, up to one of `ends`; false when it is not there. */
static bool value_of(const char *text, const char *name, const char *ends, char *to, size_t to_bytes) {
    const char *at = strcasestr(text, name);
    if (!at)
        return false;
    at += strlen(name);
    at += strspn(at, " ");
    size_t bytes = strcspn(at, ends);
    if (bytes >= to_bytes)
        return false;
    memcpy(to, at, bytes);
    to[bytes] = 0;
    return true;
}

static void described(struct viewer *viewer, const char *answer) {
    char control[URL_BYTES_MAX] = "";
    const char *video = strstr(answer, "m=video");
    if (!value_of(answer, "\nContent-Base:", "\r\n", viewer->base, sizeof viewer->base))
        strcpy(viewer->base, viewer->url);
    if (!video || !value_of(video, "a=control:", "\r\n", control, sizeof control)) {
        viewer_dies(viewer, "no video track in", answer);
        return;
    }
    if (!strncmp(control, "rtsp:", 5))
        strcpy(viewer->track, control);
    else
        snprintf(viewer->track, sizeof viewer->track, "%s%s%s", viewer->base,
                 viewer->base[strlen(viewer->base) - 1] == '/' ? "" : "/", control);
    if (options.transport == RTSP_TCP)
        ask(viewer, SETUP,
            "SETUP %s RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n",
            viewer->track);
    else if (open_udp(viewer))
        ask(viewer, SETUP,
            "SETUP %s RTSP/1.0\r\nCSeq: 3\r\nTransport: RTP/AVP;unicast;client_port=%d-%d\r\n\r\n",
            viewer->track, viewer->udp_port, viewer->udp_port + 1);
    else
        viewer_dies(viewer, "no free UDP ports", "");
}

/* Act on one whole answer (head and body, ends with a zero). */
static void answered(struct viewer *viewer, const char *answer) {
    const char *status = strchr(answer, ' ');
    if (!status || atoi(status) != 200) {
        viewer_dies(viewer, "answered", answer);
        return;
    }
    switch (viewer->state) {
    case OPTIONS:
        ask(viewer, DESCRIBE, "DESCRIBE %s RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n", viewer->url);
        break;
    case DESCRIBE:
        described(viewer, answer);
        break;
    case SETUP:
        if (value_of(answer, "\nSession:", ";\r\n", viewer->session, sizeof viewer->session))
            ask(viewer, PLAY, "PLAY %s RTSP/1.0\r\nCSeq: 4\r\nSession: %s\r\nRange: npt=0.000-\r\n\r\n",
                viewer->base, viewer->session);
        else
            viewer_dies(viewer, "no Session in", answer);
        break;
    default:
        viewer->state = WAITING;
    }
}

static void viewer_plays(struct viewer *viewer) {
    viewer->state = PLAYING;
    viewer->last_byte_s = now_s();
    if (!viewer->first_byte_s)
        viewer->first_byte_s = viewer->last_byte_s;
    viewer->bytes += viewer->answer_bytes;
    if (viewer->age && options.transport != RTSP_UDP)
        age_read(viewer->age, viewer->answer, viewer->answer_bytes, options.transport == RTSP_TCP,
                 viewer->last_byte_s, NULL);
    free(viewer->answer);
    viewer->answer = NULL;
    viewer->answer_bytes = 0;
}

/* Take one answer or `$` frame off the front of what was read. False when there is no whole one. */
static bool take_one(struct viewer *viewer) {
    uint8_t *start = viewer->answer;
    size_t have = viewer->answer_bytes, used;
    if (have && start[0] == '$' && options.transport != HTTP) {
        if (viewer->state == WAITING && have >= 4 && !(start[1] & 1)) {
            viewer_plays(viewer);
            return false;
        }
        used = have < 4 ? have + 1 : 4 + (size_t)(start[2] << 8 | start[3]);
        if (used > have)
            return false;
        if (!(start[1] & 1) && !viewer->first_byte_s)
            viewer->first_byte_s = now_s();
        viewer->bytes += used;
    } else if (viewer->state == WAITING) {
        if (have)
            viewer_plays(viewer);
        return false;
    } else {
        char length[16], *end;
        start[have] = 0;
        end = strstr((char *)start, "\r\n\r\n");
        if (!end)
            return false;
        *end = 0;
        used = (size_t)(end + 4 - (char *)start);
        if (options.transport != HTTP && value_of((char *)start, "\nContent-Length:", "\r\n", length, sizeof length))
            used += (size_t)atoi(length);
        *end = '\r';
        if (used > have)
            return false;
        uint8_t kept = start[used];
        start[used] = 0;
        answered(viewer, (char *)start);
        if (viewer->state == DEAD)
            return false;
        start[used] = kept;
    }
    viewer->answer_bytes -= used;
    memmove(start, start + used, viewer->answer_bytes);
    return viewer->answer_bytes > 0 && viewer->state != PLAYING;
}

/* The control connection of a joining viewer is readable. */
static void viewer_joins(struct viewer *viewer) {
    ssize_t got = recv(viewer->control_fd, viewer->answer + viewer->answer_bytes,
                       ANSWER_BYTES_MAX - viewer->answer_bytes, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        viewer_dies(viewer, "connection closed", got ? strerror(errno) : "by the server");
        return;
    }
    viewer->answer_bytes += (size_t)got;
    while (take_one(viewer)) {
    }
    if (viewer->state != DEAD && viewer->answer_bytes == ANSWER_BYTES_MAX)
        viewer_dies(viewer, "answer too long", "");
}
