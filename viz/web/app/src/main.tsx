import { render } from 'preact';
import { LocationProvider } from 'preact-iso/router';
import { Shell } from './shell';
import './theme.css';

render(<LocationProvider><Shell /></LocationProvider>, document.getElementById('app')!);
