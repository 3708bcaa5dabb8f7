"""What one server process counts; shown as its counters in `/api/stats`."""

import msgspec


class Counters(msgspec.Struct):
    """All from the start of the process, but for the gauges `connections` and `muxers_up`.

    connections_refused: beyond the limit. connections_overdue: closed for asking nothing, or never to the end.
    logins_failed: with a wrong password; logins_barred: not looked at, for too many of them from an address;
    login_addresses_forgotten: more addresses than are counted.
    handshakes_failed: of TLS: with what is none, or not in time.
    connections_held: said more in a second than is acted on in one. addresses_crowded: connections refused because
    there were too many of their address.
    frames_in: that muxers sent; frames_moved: of a stream that has another muxer by now. frames_sent: to outlets.
    stale_frames: came for a ticket that had been shut. rtcp_ignored: came on an RTCP channel and was no RTCP.
    reports_of_others: report blocks on what the viewer is not sent. viewers_lowered: to key frames only, for loss.
    tunnels: over HTTP; tunnels_refused: their ends that found no other, or said no base64.
    tunnel_ends_handed_over: to the process of their other end.
    udp_frames_lost: not sent, or not whole, one for each viewer, and why: udp_queues_full: they did not go out at
    the pace that is set; udp_sends_refused: the kernel's buffers were full; udp_errors: anything else.
    udp_unsegmented: viewers whose path wants each packet by itself. udp_ignored: datagrams from no viewer.
    muxer_restarts: muxers that another has replaced. muxers_unheard: messages of a muxer, or ours to it, were
    missing: all has been asked for anew.
    members_unheard: report blocks of members of a multicast group beyond those whose reports are kept.
    """

    connections: int = 0
    muxers_up: int = 0
    connections_accepted: int = 0
    connections_refused: int = 0
    connections_stalled: int = 0
    connections_overdue: int = 0
    accept_errors: int = 0
    rtsp_requests: int = 0
    rtsp_errors: int = 0
    http_requests: int = 0
    http_errors: int = 0
    connections_held: int = 0
    addresses_crowded: int = 0
    handshakes_failed: int = 0
    logins_failed: int = 0
    logins_barred: int = 0
    login_addresses_forgotten: int = 0
    reply_queues_full: int = 0
    frames_in: int = 0
    frames_moved: int = 0
    frames_sent: int = 0
    frames_dropped: int = 0
    bytes_sent: int = 0
    read_starts: int = 0
    read_stops: int = 0
    stale_frames: int = 0
    reports_sent: int = 0
    reports_received: int = 0
    reports_of_others: int = 0
    rtcp_ignored: int = 0
    viewers_lowered: int = 0
    tunnels: int = 0
    tunnels_refused: int = 0
    tunnel_ends_handed_over: int = 0
    udp_frames_lost: int = 0
    udp_queues_full: int = 0
    udp_sends_refused: int = 0
    udp_errors: int = 0
    udp_unsegmented: int = 0
    udp_ignored: int = 0
    members_unheard: int = 0
    muxer_restarts: int = 0
    muxers_unheard: int = 0
    muxer_outbox_overflows: int = 0
