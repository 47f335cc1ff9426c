package hpack

import "slices"

// huffmanLengths is the length in bits of each symbol's code, RFC 7541 Appendix B. The code is canonical: codes of one
// length count up in the order of the symbols, so the lengths define the code. EOS (256) has 30 bits.
var huffmanLengths = [256]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28,
	28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23,
	23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22,
	22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27,
	27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27,
	27, 26,
}

const eos = 256

// huffmanStep is the result of four bits at a node of the code's tree: another node, and at most one symbol on the way.
type huffmanStep struct {
	next   uint8
	symbol uint8
	emit   bool
	fail   bool // the bits are not a code, or are EOS
}

// huffmanTable is indexed by node and four bits. Node 0 is the root; the tree has 256 inner nodes.
type huffmanTable struct {
	steps [256][16]huffmanStep
	// padding marks the nodes that up to seven one bits reach from the root: a string may end there, RFC 7541 §5.2.
	padding [256]bool
}

var huffman = newHuffmanTable()

func newHuffmanTable() *huffmanTable {
	tree := huffmanTree()
	t := &huffmanTable{}
	for node := range tree {
		for bits := range 16 {
			t.steps[node][bits] = walk(tree, node, bits)
		}
	}
	node := 0
	for range 8 {
		t.padding[node] = true
		node = int(tree[node][1])
	}
	return t
}

// huffmanTree returns the tree. A child of a node is another node if positive, and the symbol ^child if negative.
func huffmanTree() [][2]int16 {
	symbols := make([]int, eos+1)
	length := func(s int) int {
		if s == eos {
			return 30
		}
		return int(huffmanLengths[s])
	}
	for s := range symbols {
		symbols[s] = s
	}
	slices.SortStableFunc(symbols, func(a, b int) int { return length(a) - length(b) })
	tree := make([][2]int16, 1, 256)
	code, last := uint32(0), length(symbols[0])
	for _, s := range symbols {
		code <<= length(s) - last
		last = length(s)
		node := 0
		for bit := last - 1; bit > 0; bit-- {
			child := &tree[node][code>>bit&1]
			if *child == 0 {
				*child = int16(len(tree))
				tree = append(tree, [2]int16{})
				child = &tree[node][code>>bit&1]
			}
			node = int(*child)
		}
		tree[node][code&1] = ^int16(s)
		code++
	}
	return tree
}

func walk(tree [][2]int16, node, bits int) (step huffmanStep) {
	for bit := 3; bit >= 0; bit-- {
		child := tree[node][bits>>bit&1]
		if child >= 0 {
			node = int(child)
			continue
		}
		if ^child == eos {
			return huffmanStep{fail: true}
		}
		step.symbol, step.emit = uint8(^child), true
		node = 0
	}
	step.next = uint8(node)
	return step
}

// appendHuffman appends the string that src encodes.
func appendHuffman(dst, src []byte) ([]byte, error) {
	node := uint8(0)
	for _, b := range src {
		for _, bits := range [2]byte{b >> 4, b & 15} {
			step := &huffman.steps[node][bits]
			if step.fail {
				return dst, ErrCompression
			}
			if step.emit {
				dst = append(dst, step.symbol)
			}
			node = step.next
		}
	}
	if !huffman.padding[node] {
		return dst, ErrCompression
	}
	return dst, nil
}
