// Package list is a queue whose elements lie in the values that wait: to push and to remove allocates nothing, and
// takes the same time wherever the element is. It must not import any package of the proxy.
package list

// List is a queue. Its zero value is empty.
type List[T any] struct {
	first, last *Element[T]
	len         int
}

// Element is the place of one value in at most one list. Its zero value is in none. It must not be copied while it is
// in a list.
type Element[T any] struct {
	value      T
	list       *List[T]
	prev, next *Element[T]
}

// Len returns the number of elements.
func (l *List[T]) Len() int { return l.len }

// First returns the value that was pushed first, or T's zero value if l is empty.
func (l *List[T]) First() (v T) {
	if l.first != nil {
		v = l.first.value
	}
	return v
}

// Push puts v, whose element is e, at the end. e must be in no list.
func (l *List[T]) Push(e *Element[T], v T) {
	*e = Element[T]{value: v, list: l, prev: l.last}
	if l.last != nil {
		l.last.next = e
	} else {
		l.first = e
	}
	l.last = e
	l.len++
}

// Of returns the list that e is in, or nil.
func (e *Element[T]) Of() *List[T] { return e.list }

// Remove takes e out of its list, if it is in one.
func (e *Element[T]) Remove() {
	l := e.list
	if l == nil {
		return
	}
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.first = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.last = e.prev
	}
	l.len--
	*e = Element[T]{}
}
