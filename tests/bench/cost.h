/*
 * cost: what processes have used so far, read from /proc. Included by sink.c.
 *
 * CPU time is the sum over all threads of /proc/PID/task/TID/schedstat (ns on a CPU, exact); a thread that
 * ends takes its share with it, so the figure of /proc/PID/stat (ticks of 10 ms, threads that ended included)
 * stands beside it as a check.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIDS_MAX = 256 };

struct cost {
    bool alive;
    double cpu_s, cpu_ticks_s; /* by schedstat; by stat */
    long rss_kb, pss_kb;       /* pss: shared pages divided among those who share them */
};

static double schedstat_s(int pid) {
    char path[320];
    double total_s = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        unsigned long long on_cpu_ns;
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &on_cpu_ns) == 1)
            total_s += (double)on_cpu_ns * 1e-9;
        fclose(file);
    }
    closedir(directory);
    return total_s;
}

static long field_kb(int pid, const char *file_name, const char *field) {
    char path[64], line[256];
    long value_kb = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file_name);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, field, strlen(field)))
            value_kb = atol(line + strlen(field));
    fclose(file);
    return value_kb;
}

/* The CPU time of one process since it started. */
static struct cost cost_of(int pid) {
    struct cost cost = {0};
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return cost;
    size_t bytes = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[bytes] = 0;
    unsigned long user, system;
    const char *fields = strrchr(text, ')');
    if (fields && sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
        cost.cpu_ticks_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    cost.cpu_s = schedstat_s(pid);
    cost.alive = true;
    return cost;
}

/* Add what memory it has now: slow to read. */
static void add_memory(struct cost *cost, int pid) {
    cost->rss_kb = field_kb(pid, "status", "VmRSS:");
    cost->pss_kb = field_kb(pid, "smaps_rollup", "Pss:");
}

/* Seconds since boot in which some task waited for a CPU (0 where the kernel does not say), and in which the
 * hypervisor took a CPU away. */
static void machine_waits(double *waited_s, double *stolen_s) {
    unsigned long long waited_us = 0, steal = 0;
    FILE *file = fopen("/proc/pressure/cpu", "r");
    if (file) {
        if (fscanf(file, "some avg10=%*f avg60=%*f avg300=%*f total=%llu", &waited_us) != 1)
            waited_us = 0;
        fclose(file);
    }
    file = fopen("/proc/stat", "r");
    if (file) {
        if (fscanf(file, "cpu %*u %*u %*u %*u %*u %*u %*u %llu", &steal) != 1)
            steal = 0;
        fclose(file);
    }
    *waited_s = (double)waited_us * 1e-6;
    *stolen_s = (double)steal / (double)sysconf(_SC_CLK_TCK);
}
