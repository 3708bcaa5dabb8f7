/*
 * sink: many viewers for little CPU, and what it cost the server to feed them. Prints one JSON object.
 *
 *     sink --transport rtsp-tcp|rtsp-udp|http --port P --path /NAME --viewers N --pids PID,PID...
 *          [--seconds 10] [--warm 3] [--at-once 64] [--fps 30] [--sweep-us 4000]
 *          [--streams N] [--stall S] [--age] [--gro] [--join-seconds 30] [--hold]
 *
 * All N viewers join (no more than `at-once` of them at a time, none waits for another), then S seconds pass
 * in which nobody reads and the receive buffers are small (`stall`), then `warm` seconds, then the measuring window of `seconds`. Every address
 * is 127.0.0.1. With `streams`, a "%d" in the path is the viewer's number modulo that. With `hold`, the
 * connections stay open after the figures are printed until standard input ends.
 *
 * Media is thrown away inside the kernel (MSG_TRUNC) in a sweep over all sockets every `sweep-us`, so that
 * thousands of viewers cost a fraction of a core. What a sweep finds is taken to have arrived then; where the
 * longest sweep (`sink.sweep_max_ms`) is not short beside a frame, nothing about lateness can be said.
 *
 * With `age`, the media is read instead, as it comes, and each frame's age is told from its DTS: see age.h.
 *
 * late_frames: a gap of g between two arrivals counts as floor(g · fps − 1.25) frames, if that is positive: those
 * due in it for a frame's time and a quarter. process figures: see cost.h.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/resource.h>

#include "age.h"
#include "cost.h"
#include "viewer.h"

enum { EVENTS_MAX = 512, DATAGRAMS_MAX = 32, DATAGRAM_HEAD_BYTES = 16, SCRATCH_BYTES = 1 << 20 };
enum { STALL_RECEIVE_BYTES = 32 << 10, RECEIVE_BYTES = 2 << 20 }; /* of a socket, while and after it stalls */
#define KEEPALIVE_S 20.0
#define LATE_FRAMES_BEGIN 1.25

static struct viewer *viewers;
static int epoll_fd, joined, failed;
static bool measuring;
static struct ages ages;
static uint8_t scratch[SCRATCH_BYTES];

static void watch(int fd, struct viewer *viewer, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = viewer};
    epoll_ctl(epoll_fd, operation, fd, &event);
}

/* ---- reading ----------------------------------------------------------------------------------------- */

static void arrived(struct viewer *viewer, double at_s) {
    if (measuring) {
        double gap_s = at_s - viewer->last_byte_s, late = gap_s * options.fps - LATE_FRAMES_BEGIN;
        if (gap_s > viewer->gap_max_s)
            viewer->gap_max_s = gap_s;
        if (late >= 1)
            viewer->late_frames += (uint64_t)late;
    }
    viewer->last_byte_s = at_s;
}

static void count_sequence(struct viewer *viewer, const uint8_t *packet) {
    int32_t sequence = packet[2] << 8 | packet[3], missing = (sequence - viewer->sequence - 1) & 0xFFFF;
    if (viewer->sequence >= 0 && measuring && missing < 0x8000)
        viewer->lost_packets += (uint64_t)missing;
    viewer->sequence = sequence;
}

/* One batch of datagrams; false when there was none. */
static bool drain_datagrams(struct viewer *viewer) {
    static struct mmsghdr messages[DATAGRAMS_MAX];
    static struct iovec pieces[DATAGRAMS_MAX];
    size_t room = options.age ? 2048 : DATAGRAM_HEAD_BYTES;
    for (int i = 0; i < DATAGRAMS_MAX; i++) {
        pieces[i] = (struct iovec){scratch + (size_t)i * room, room};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(viewer->rtp_fd, messages, DATAGRAMS_MAX, MSG_DONTWAIT | MSG_TRUNC, NULL);
    if (count <= 0)
        return false;
    double at_s = now_s();
    for (int i = 0; i < count; i++) {
        viewer->bytes += messages[i].msg_len;
        if (!options.gro)
            count_sequence(viewer, pieces[i].iov_base);
        if (viewer->age && messages[i].msg_len <= room)
            read_rtp(viewer->age, pieces[i].iov_base, messages[i].msg_len, at_s, measuring ? &ages : NULL);
    }
    arrived(viewer, at_s);
    return count == DATAGRAMS_MAX;
}

/* Take all that has come for a playing viewer. */
static void drain(struct viewer *viewer) {
    if (options.transport == RTSP_UDP) {
        while (drain_datagrams(viewer)) {
        }
        return;
    }
    ssize_t got = recv(viewer->control_fd, scratch, sizeof scratch, MSG_DONTWAIT | (viewer->age ? 0 : MSG_TRUNC));
    if (got > 0) {
        double at_s = now_s();
        viewer->bytes += (uint64_t)got;
        arrived(viewer, at_s);
        if (viewer->age)
            age_read(viewer->age, scratch, (size_t)got, options.transport == RTSP_TCP, at_s,
                     measuring ? &ages : NULL);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR))
        viewer_dies(viewer, "connection closed", got ? strerror(errno) : "by the server");
}

static void keep_alive(struct viewer *viewer) {
    char request[2 * URL_BYTES_MAX];
    int bytes = snprintf(request, sizeof request, "OPTIONS %s RTSP/1.0\r\nCSeq: 9\r\nSession: %s\r\n\r\n",
                         viewer->url, viewer->session);
    send(viewer->control_fd, request, (size_t)bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Over UDP the control connection and RTCP carry little: emptied now and then, so that a close is seen. */
static void drain_control(struct viewer *viewer) {
    while (recv(viewer->rtcp_fd, scratch, sizeof scratch, MSG_DONTWAIT | MSG_TRUNC) > 0) {
    }
    if (recv(viewer->control_fd, scratch, sizeof scratch, MSG_DONTWAIT | MSG_TRUNC) == 0)
        viewer_dies(viewer, "connection closed", "by the server");
}

static void sweep(void) {
    static double keep_alive_at_s;
    double at_s = now_s();
    bool keep = options.transport != HTTP && at_s >= keep_alive_at_s;
    if (keep)
        keep_alive_at_s = at_s + KEEPALIVE_S;
    for (int i = 0; i < options.viewers; i++) {
        if (viewers[i].state != PLAYING)
            continue;
        if (!options.age)
            drain(&viewers[i]);
        if (keep && viewers[i].state == PLAYING) {
            keep_alive(&viewers[i]);
            if (options.transport == RTSP_UDP)
                drain_control(&viewers[i]);
        }
    }
}

/* ---- joining ----------------------------------------------------------------------------------------- */

static void start_joining(struct viewer *viewer, int index, int streams) {
    viewer->sequence = -1;
    viewer->rtp_fd = viewer->rtcp_fd = -1;
    if (options.age && !(viewer->age = calloc(1, sizeof *viewer->age)))
        exit(1);
    if (viewer->age)
        viewer->age->pid = -1;
    viewer_connects(viewer, index, streams);
    if (viewer->state == CONNECTING)
        watch(viewer->control_fd, viewer, EPOLLOUT, EPOLL_CTL_ADD);
    else
        failed++;
}

static void go_on_joining(struct viewer *viewer) {
    enum state before = viewer->state;
    if (before == CONNECTING) {
        viewer_connected(viewer);
        if (viewer->state != DEAD)
            watch(viewer->control_fd, viewer, EPOLLIN, EPOLL_CTL_MOD);
    } else if (before == WAITING && options.transport == RTSP_UDP) {
        viewer->answer_bytes = 0;
        viewer_plays(viewer);
    } else
        viewer_joins(viewer);
    if (viewer->state == WAITING && before != WAITING && options.transport == RTSP_UDP) {
        watch(viewer->control_fd, viewer, 0, EPOLL_CTL_DEL);
        watch(viewer->rtp_fd, viewer, EPOLLIN, EPOLL_CTL_ADD);
    }
    if (viewer->state == PLAYING) {
        joined++;
        if (!options.age)
            watch(options.transport == RTSP_UDP ? viewer->rtp_fd : viewer->control_fd, viewer, 0, EPOLL_CTL_DEL);
    } else if (viewer->state == DEAD)
        failed++;
}

/* ---- figures ----------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Print the distribution of values; sorts them. */
static void print_spread(const char *name, double *values, size_t count) {
    if (!count) {
        printf(", \"%s\": null", name);
        return;
    }
    qsort(values, count, sizeof *values, ascending);
    printf(", \"%s\": {\"min\": %.4f, \"p50\": %.4f, \"p99\": %.4f, \"max\": %.4f, \"count\": %zu}", name, values[0],
           values[count / 2], values[(size_t)((double)(count - 1) * 0.99)], values[count - 1], count);
}

struct snapshot {
    double at_s, waited_s, stolen_s, own_s;
    struct cost costs[PIDS_MAX];
};

static void take(struct snapshot *snapshot, bool with_memory) {
    struct rusage own;
    for (int i = 0; i < options.pid_count; i++)
        snapshot->costs[i] = cost_of(options.pids[i]);
    machine_waits(&snapshot->waited_s, &snapshot->stolen_s);
    getrusage(RUSAGE_SELF, &own);
    snapshot->own_s = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                      (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) * 1e-6;
    snapshot->at_s = now_s();
    for (int i = 0; with_memory && i < options.pid_count; i++)
        add_memory(&snapshot->costs[i], options.pids[i]);
}

static void print_figures(const struct snapshot *start, const struct snapshot *joined_at,
                          const struct snapshot *from, const struct snapshot *to, double sweep_max_s) {
    double seconds = to->at_s - from->at_s, cpu_s = 0, cpu_ticks_s = 0, join_cpu_s = 0, last_join_s = 0;
    double *joins = calloc((size_t)options.viewers, sizeof *joins), *gaps = calloc((size_t)options.viewers, 8);
    double *rates = calloc((size_t)options.viewers, sizeof *rates);
    uint64_t bytes = 0, late = 0, lost = 0, unreadable = 0;
    size_t count = 0, dead = 0, missing = 0;
    for (int i = 0; i < options.viewers; i++) {
        struct viewer *viewer = &viewers[i];
        dead += viewer->state == DEAD;
        if (viewer->first_byte_s) {
            joins[count] = (viewer->first_byte_s - viewer->connect_s) * 1e3;
            if (viewer->first_byte_s > last_join_s)
                last_join_s = viewer->first_byte_s;
            gaps[count] = viewer->gap_max_s * 1e3;
            rates[count++] = (double)(viewer->bytes - viewer->bytes_before) * 8 / seconds;
        }
        bytes += viewer->bytes - viewer->bytes_before;
        late += viewer->late_frames;
        lost += viewer->lost_packets;
        unreadable += viewer->age ? viewer->age->unreadable : 0;
    }
    for (int i = 0; i < options.pid_count; i++) {
        cpu_s += to->costs[i].cpu_s - from->costs[i].cpu_s;
        cpu_ticks_s += to->costs[i].cpu_ticks_s - from->costs[i].cpu_ticks_s;
        join_cpu_s += joined_at->costs[i].cpu_s - start->costs[i].cpu_s;
        missing += !to->costs[i].alive;
    }
    printf("{\"viewers\": %d, \"joined\": %d, \"failed\": %d, \"dead\": %zu, \"error\": \"%s\", \"seconds\": %.3f",
           options.viewers, joined, failed, dead, first_error, seconds);
    printf(", \"bytes\": %lu, \"cpu_s\": %.4f, \"cpu_ticks_s\": %.2f, \"processes_gone\": %zu", bytes, cpu_s,
           cpu_ticks_s, missing);
    printf(", \"late_frames\": %lu, \"frames_due\": %.0f, \"lost_packets\": %lu, \"unreadable_bytes\": %lu", late,
           options.viewers * seconds * options.fps, lost, unreadable);
    printf(", \"join_all_ms\": %.1f, \"join_cpu_s\": %.4f",
           last_join_s ? (last_join_s - viewers[0].connect_s) * 1e3 : 0.0, join_cpu_s);
    print_spread("join_ms", joins, count);
    print_spread("gap_ms", gaps, count);
    print_spread("bitrate_bps", rates, count);
    print_spread("age_ms", ages.ms, ages.count);
    printf(", \"sink\": {\"cpu_s\": %.3f, \"sweep_max_ms\": %.2f}", to->own_s - from->own_s, sweep_max_s * 1e3);
    printf(", \"machine\": {\"waited_s\": %.2f, \"stolen_s\": %.2f}, \"processes\": [", to->waited_s - from->waited_s,
           to->stolen_s - from->stolen_s);
    for (int i = 0; i < options.pid_count; i++)
        printf("%s{\"pid\": %d, \"cpu_s\": %.4f, \"rss_before_kb\": %ld, \"rss_kb\": %ld, \"pss_before_kb\": %ld, "
               "\"pss_kb\": %ld}",
               i ? ", " : "", options.pids[i], to->costs[i].cpu_s - from->costs[i].cpu_s, start->costs[i].rss_kb,
               to->costs[i].rss_kb, start->costs[i].pss_kb, to->costs[i].pss_kb);
    printf("]}\n");
}

/* ---- the loop ---------------------------------------------------------------------------------------- */

enum phase { JOINING, STALLED, WARMING, MEASURING, DONE };

static double turn_of(enum phase phase) {
    return phase == STALLED   ? options.stall_s
           : phase == WARMING ? options.warm_s
                              : options.seconds;
}

static void set_receive_bytes(int bytes) {
    for (int i = 0; i < options.viewers; i++)
        if (viewers[i].state == PLAYING)
            setsockopt(viewers[i].control_fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

static void begin_window(void) {
    double at_s = now_s();
    measuring = true;
    for (int i = 0; i < options.viewers; i++) {
        viewers[i].bytes_before = viewers[i].bytes;
        /* What stalled before the window is not the window's: its gap begins here. */
        if (viewers[i].last_byte_s < at_s - 1 / options.fps)
            viewers[i].last_byte_s = at_s - 1 / options.fps;
    }
}

static void run(int streams) {
    static struct snapshot start, joined_at, from, to;
    double sweep_max_s = 0, sweep_s = options.sweep_us * 1e-6, sweep_at_s = now_s();
    double phase_end_s = now_s() + options.join_s;
    enum phase phase = JOINING;
    int started = 0;
    take(&start, true);
    while (phase != DONE) {
        while (started < options.viewers && started - joined - failed < options.at_once) {
            start_joining(&viewers[started], started, streams);
            started++;
        }
        double wait_s = sweep_at_s - now_s();
        struct timespec timeout = {0, wait_s > 0 ? (long)(wait_s * 1e9) : 0};
        struct epoll_event events[EVENTS_MAX];
        int count = 0;
        if (phase == STALLED)
            nanosleep(&timeout, NULL);
        else
            count = epoll_pwait2(epoll_fd, events, EVENTS_MAX, &timeout, NULL);
        for (int i = 0; i < count; i++) {
            struct viewer *viewer = events[i].data.ptr;
            if (viewer->state == PLAYING)
                drain(viewer);
            else if (viewer->state != DEAD)
                go_on_joining(viewer);
        }
        double at_s = now_s();
        if (at_s >= sweep_at_s) {
            if (phase != STALLED)
                sweep();
            sweep_at_s += sweep_s;
            double end_s = now_s();
            if (measuring && end_s - at_s > sweep_max_s)
                sweep_max_s = end_s - at_s;
            if (sweep_at_s < end_s) /* late: leave a breath for the server, and do not catch up */
                sweep_at_s = end_s + 0.0002;
            at_s = end_s;
        }
        bool all_joined = phase == JOINING && joined + failed >= options.viewers;
        if (!all_joined && at_s < phase_end_s)
            continue;
        if (phase == JOINING)
            take(&joined_at, false);
        if (phase == STALLED)
            set_receive_bytes(RECEIVE_BYTES);
        if (phase == MEASURING)
            take(&to, true);
        phase++;
        if (phase == STALLED && options.stall_s > 0)
            set_receive_bytes(STALL_RECEIVE_BYTES);
        else if (phase == STALLED)
            phase = WARMING;
        if (phase == MEASURING) {
            begin_window();
            take(&from, false);
        }
        phase_end_s = now_s() + turn_of(phase);
    }
    for (int i = 0; i < options.viewers; i++)
        arrived(&viewers[i], viewers[i].state == IDLE ? 0 : to.at_s); /* the gap at the end counts */
    print_figures(&start, &joined_at, &from, &to, sweep_max_s);
}

static int transport_of(const char *name) {
    if (!strcmp(name, "http"))
        return HTTP;
    return !strcmp(name, "rtsp-udp") ? RTSP_UDP : RTSP_TCP;
}

int main(int argc, char **argv) {
    int streams = 1;
    bool hold = false;
    options = (struct options){.path = "/", .viewers = 1, .at_once = 64, .sweep_us = 4000, .warm_s = 3,
                               .seconds = 10, .fps = 30, .join_s = 30};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "0";
        bool *flag = !strcmp(name, "--age")    ? &options.age
                     : !strcmp(name, "--gro")  ? &options.gro
                     : !strcmp(name, "--hold") ? &hold
                                               : NULL;
        if (flag) {
            *flag = true;
            continue;
        }
        i++;
        if (!strcmp(name, "--transport"))
            options.transport = (enum transport)transport_of(value);
        else if (!strcmp(name, "--path"))
            options.path = value;
        else if (!strcmp(name, "--port"))
            options.port = atoi(value);
        else if (!strcmp(name, "--viewers"))
            options.viewers = atoi(value);
        else if (!strcmp(name, "--at-once"))
            options.at_once = atoi(value);
        else if (!strcmp(name, "--sweep-us"))
            options.sweep_us = atoi(value);
        else if (!strcmp(name, "--streams"))
            streams = atoi(value);
        else if (!strcmp(name, "--warm"))
            options.warm_s = atof(value);
        else if (!strcmp(name, "--seconds"))
            options.seconds = atof(value);
        else if (!strcmp(name, "--join-seconds"))
            options.join_s = atof(value);
        else if (!strcmp(name, "--stall"))
            options.stall_s = atof(value);
        else if (!strcmp(name, "--fps"))
            options.fps = atof(value);
        else if (!strcmp(name, "--pids"))
            for (char *pid = strtok(argv[i], ","); pid && options.pid_count < PIDS_MAX; pid = strtok(NULL, ","))
                options.pids[options.pid_count++] = atoi(pid);
        else {
            fprintf(stderr, "sink: no option %s\n", name);
            return 2;
        }
    }
    if (options.port <= 0 || options.viewers <= 0 || streams <= 0 || options.fps <= 0) {
        fprintf(stderr, "usage: see the head of sink.c\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    viewers = calloc((size_t)options.viewers, sizeof *viewers);
    epoll_fd = epoll_create1(0);
    run(streams);
    fflush(stdout);
    while (hold && read(STDIN_FILENO, scratch, sizeof scratch) > 0) {
    }
    return 0;
}
