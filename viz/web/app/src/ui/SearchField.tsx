import { Icon } from './Icon';

// SearchField narrows what a page shows. The key / goes to it, and Esc clears it.
export function SearchField(props: { label: string; value: string; onInput: (text: string) => void }) {
  return (
    <div class="search-field">
      <Icon name="search" />
      <input type="search" data-search value={props.value} placeholder={props.label} aria-label={props.label}
        spellcheck={false} autocomplete="off"
        onInput={(e) => props.onInput(e.currentTarget.value.trim().toLowerCase())}
        onKeyDown={(e) => e.key === 'Escape' && props.onInput('')} />
      <kbd aria-hidden="true" title="Press / to search">/</kbd>
    </div>
  );
}
