// Keeps the focus of the keyboard where people expect it, when what has it goes away.
import { useEffect } from 'preact/hooks';

// lost reports whether nothing has the focus.
export function lost(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}

// useKeptFocus gives the focus to the closest part around an element that had it and was removed: a row that is no longer
// there, or a whole page. Without it the next Tab may begin at the top of the page.
export function useKeptFocus() {
  useEffect(() => {
    let path: Element[] = []; // the element that has the focus, and those around it
    const focused = (e: FocusEvent) => {
      path = e.composedPath().filter((t) => t instanceof Element);
    };
    const observer = new MutationObserver(() => {
      if (!lost() || !path[0] || path[0].isConnected) return;
      const next = path.find((e) => e.isConnected && e.matches('[tabindex]'));
      path = [];
      (next as HTMLElement | undefined)?.focus({ preventScroll: true });
    });
    document.addEventListener('focusin', focused);
    observer.observe(document.body, { childList: true, subtree: true });
    return () => {
      document.removeEventListener('focusin', focused);
      observer.disconnect();
    };
  }, []);
}

let first = true;

// useArrival gives the focus to the heading of a page that took the place of the one that had it. The first page leaves it
// at the top of the document, where the skip link is.
export function useArrival(title: string, heading: () => HTMLElement | null) {
  useEffect(() => {
    if (!first && (lost() || document.activeElement?.id === 'main')) heading()?.focus({ preventScroll: true });
    first = false;
  }, [title]);
}
