// gortsplib_relay: the RTSP engine of MediaMTX as a server: one publisher's packets to all who play.
//
//	gortsplib_relay HOST RTSP_PORT RTP_PORT
//
// It stands in where MediaMTX itself cannot be built. RTP_PORT is even; the next one is RTCP's.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"
	"sync/atomic"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"
)

type relay struct {
	server *gortsplib.Server
	stream atomic.Pointer[gortsplib.ServerStream]
}

// ok is new each time: gortsplib writes the headers of its answer into it.
func ok() *base.Response {
	return &base.Response{StatusCode: base.StatusOK}
}

func (r *relay) find() (*base.Response, *gortsplib.ServerStream, error) {
	if stream := r.stream.Load(); stream != nil {
		return ok(), stream, nil
	}
	return &base.Response{StatusCode: base.StatusNotFound}, nil, nil
}

func (r *relay) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return r.find()
}

func (r *relay) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if ctx.Session.State() == gortsplib.ServerSessionStatePreRecord {
		return ok(), nil, nil
	}
	return r.find()
}

func (r *relay) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	r.stream.Store(gortsplib.NewServerStream(r.server, ctx.Description))
	return ok(), nil
}

func (r *relay) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return ok(), nil
}

func (r *relay) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	stream := r.stream.Load()
	ctx.Session.OnPacketRTPAny(func(media *description.Media, _ format.Format, packet *rtp.Packet) {
		if err := stream.WritePacketRTP(media, packet); err != nil {
			log.Print(err)
		}
	})
	return ok(), nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: gortsplib_relay HOST RTSP_PORT RTP_PORT")
	}
	rtpPort, err := strconv.Atoi(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	r := &relay{}
	r.server = &gortsplib.Server{
		Handler:        r,
		RTSPAddress:    os.Args[1] + ":" + os.Args[2],
		UDPRTPAddress:  fmt.Sprintf("%s:%d", os.Args[1], rtpPort),
		UDPRTCPAddress: fmt.Sprintf("%s:%d", os.Args[1], rtpPort+1),
	}
	log.Fatal(r.server.StartAndWait())
}
