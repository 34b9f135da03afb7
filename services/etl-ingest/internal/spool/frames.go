package spool

import (
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// frameSize is how many plain bytes one zstd frame has. A file is frames one after the other, which every reader of zstd takes for one stream; they are made at the same time,
// since compressing takes longer than all else that is done to a page.
const frameSize = 512 << 10

// encoder makes frames; it is safe for concurrent use, and made when it is first needed: its tables are megabytes.
var encoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithWindowSize(frameSize))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

// buffers of a frame's size, plain or compressed, are used again.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, frameSize+frameSize/8)
	return &b
}}

// framesAhead is how many frames wait, for each processor, while one is being written: a disk that is slow for a moment holds up neither compressing nor reading.
const framesAhead = 3

// frames compresses what is written, frame by frame, several at a time, and writes them in order. What is in memory is bounded: framesAhead frames a processor and a few more.
// It is for one goroutine.
type frames struct {
	to    io.Writer
	plain *[]byte // the frame under way; nil before its first byte

	queue chan *frame   // in order; closed when there are no more. nil until a second frame begins
	done  chan struct{} // closed when everything in the queue was written

	mu  sync.Mutex
	err error // of writing; nothing is written any more
}

type frame struct {
	plain  *[]byte
	packed chan *[]byte // one value
}

func newFrames(to io.Writer) *frames { return &frames{to: to} }

// Write implements io.Writer.
func (f *frames) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if f.plain == nil {
			f.plain = buffers.Get().(*[]byte)
		}
		n := min(len(rest), frameSize-len(*f.plain))
		*f.plain = append(*f.plain, rest[:n]...)
		rest = rest[n:]
		if len(*f.plain) == frameSize {
			if err := f.begin(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// begin compresses the frame under way beside what follows.
func (f *frames) begin() error {
	if err := f.failed(); err != nil {
		return err
	}
	if f.queue == nil {
		f.queue, f.done = make(chan *frame, framesAhead*runtime.GOMAXPROCS(0)), make(chan struct{})
		go f.write()
	}
	next := &frame{plain: f.plain, packed: make(chan *[]byte, 1)}
	f.plain = nil
	f.queue <- next
	go func() { next.packed <- pack(next.plain) }()
	return nil
}

// pack makes a frame and gives the plain bytes' buffer back.
func pack(plain *[]byte) *[]byte {
	packed := buffers.Get().(*[]byte)
	*packed = encoder().EncodeAll(*plain, (*packed)[:0])
	free(plain)
	return packed
}

func free(b *[]byte) {
	*b = (*b)[:0]
	buffers.Put(b)
}

// write writes frames in order until there are no more.
func (f *frames) write() {
	defer close(f.done)
	for next := range f.queue {
		packed := <-next.packed
		if f.failed() == nil {
			if _, err := f.to.Write(*packed); err != nil {
				f.mu.Lock()
				f.err = err
				f.mu.Unlock()
			}
		}
		free(packed)
	}
}

func (f *frames) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Close ends the stream. A file of nothing is one empty frame.
func (f *frames) Close() error {
	f.drain()
	err := f.failed()
	if err != nil || f.plain == nil && f.done != nil {
		return err
	}
	if f.plain == nil {
		f.plain = buffers.Get().(*[]byte)
	}
	packed := pack(f.plain)
	f.plain = nil
	_, err = f.to.Write(*packed)
	free(packed)
	return err
}

// abandon waits for what is under way and forgets the rest.
func (f *frames) abandon() {
	f.drain()
	if f.plain != nil {
		free(f.plain)
		f.plain = nil
	}
}

func (f *frames) drain() {
	if f.queue != nil {
		close(f.queue)
		<-f.done
		f.queue = nil
	}
}
